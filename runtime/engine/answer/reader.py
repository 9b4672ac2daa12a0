"""A row's tokens, read: what is thought, what is said, what is called; never part of a stop
sequence."""

from collections.abc import Iterable, Sequence

from runtime.requests import Thinking

from .calls import CallReader
from .decoder import Stream
from .piece import Piece
from .reasoning import ReasoningSplitter
from .stop import StopMatcher


class AnswerReader:
    """Of one row. Its state follows from the tokens it was given."""

    def __init__(
        self,
        stream: Stream,
        stop: Sequence[str] = (),
        thinking: Thinking | None = None,
        calls: CallReader | None = None,
    ) -> None:
        """`stream` is fresh and belongs to this row from now on.

        Stop sequences end what is said. In thoughts and arguments they are looked for by nobody:
        a client that names a line's end does not mean those.
        """
        self._stream = stream
        self._splitter = ReasoningSplitter(thinking)
        self._calls = calls
        self._matcher = StopMatcher(stop)

    @property
    def stopped_by(self) -> str | None:
        """The stop sequence that was met; it and what follows is not sent."""
        return self._matcher.met

    @property
    def is_thinking(self) -> bool:
        return self._splitter.is_inside

    @property
    def num_calls(self) -> int:
        """Calls of functions that were begun."""
        return self._calls.num_calls if self._calls is not None else 0

    def add(self, token: int) -> list[Piece]:
        """What this token makes safe to send, often nothing."""
        text = self._stream.add(token)
        return self._through(self._splitter.add(text)) if text else []

    def finish(self) -> list[Piece]:
        """The rest. An answer cut inside a character loses that character, not its validity."""
        if self._matcher.is_stopped:
            return []
        pieces = self._through(self._splitter.add(self._stream.finish()))
        pieces += self._through(self._splitter.finish())
        if self._calls is not None:
            pieces += self._matched(self._calls.finish())
        if rest := self._matcher.flush():
            pieces.append(Piece("text", rest))
        return pieces

    def _through(self, pieces: Iterable[Piece]) -> list[Piece]:
        read: list[Piece] = []
        for piece in pieces:
            if piece.kind == "reasoning":
                read.append(piece)
            elif self._calls is not None:
                read += self._matched(self._calls.add(piece.text))
            else:
                read += self._matched([piece])
        return read

    def _matched(self, pieces: Iterable[Piece]) -> list[Piece]:
        matched: list[Piece] = []
        for piece in pieces:
            if self._matcher.is_stopped:
                break
            if piece.kind == "text":
                if text := self._matcher.add(piece.text):
                    matched.append(Piece("text", text))
            else:
                if rest := self._matcher.flush():  # a call ends what may have become a stop
                    matched.append(Piece("text", rest))
                matched.append(piece)
        return matched
