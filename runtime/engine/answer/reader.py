"""A row's tokens, read: what is thought, what is said, what is called; never part of a stop
sequence."""

from collections.abc import Iterable, Sequence

import msgspec

from runtime.decoding.decoder import Stream
from runtime.requests import AnswerFormat

from .calls.reader import CallReader
from .harmony import Headers
from .piece import Piece
from .reasoning import ReasoningSplitter
from .stop import StopMatcher

_PLAIN = AnswerFormat()


class AnswerReader:
    """Of one row. Its state follows from the tokens it was given."""

    def __init__(
        self, stream: Stream, stop: Sequence[str] = (), form: AnswerFormat = _PLAIN
    ) -> None:
        """`stream` is fresh and belongs to this row from now on; it has the marks of `form`.

        Stop sequences end what is said. In thoughts and arguments they are looked for by nobody:
        a client that names a line's end does not mean those.
        """
        self._stream = stream
        calls = None if form.calls is None else CallReader(form.calls, form.parameters)
        self._calls = calls
        self._splitter = ReasoningSplitter(
            form.thinking, form.speech, (lambda _: None) if calls is None else calls.begin
        )
        has_channels = "<|channel|>" in marks_of(form)
        self._headers = Headers(has_calls=calls is not None) if has_channels else None
        self._matcher = StopMatcher(stop)
        self._max_calls = form.max_calls
        self._is_called = form.is_called
        self.is_full = False  # another call than may be made was begun; it is not told

    @property
    def stopped_by(self) -> str | None:
        """The stop sequence that was met; it and what follows is not sent."""
        return self._matcher.met

    @property
    def is_thinking(self) -> bool:
        return self._splitter.is_inside

    @property
    def num_calls(self) -> int:
        """Calls of functions that were begun and told."""
        num_begun = self._calls.num_calls if self._calls is not None else 0
        return num_begun if self._max_calls is None else min(num_begun, self._max_calls)

    def add(self, token: int) -> list[Piece]:
        """What this token makes safe to send, often nothing."""
        text = self._stream.add(token)
        if text and self._headers is not None:
            text = self._headers.add(text)
        return self._through(self._splitter.add(text)) if text else []

    def finish(self) -> list[Piece]:
        """The rest. An answer cut inside a character loses that character, not its validity."""
        if self._matcher.is_stopped or self.is_full:
            return []
        text = self._stream.finish()
        if self._headers is not None:
            text = self._headers.add(text) + self._headers.finish()
        pieces = self._through(self._splitter.add(text))
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
            if piece.kind == "call" and self._max_calls is not None:
                self.is_full = self.is_full or piece.number >= self._max_calls
            if self._matcher.is_stopped or self.is_full:
                break
            if piece.kind == "text" and self._is_called:
                continue  # the rest of a call that was cut, which nobody could read
            if piece.kind == "text":
                if text := self._matcher.add(piece.text):
                    matched.append(Piece("text", text))
            else:
                if rest := self._matcher.flush():  # a call ends what may have become a stop
                    matched.append(Piece("text", rest))
                matched.append(piece)
        return matched


def marks_of(form: AnswerFormat) -> str:
    """All marks of answers of this form, in one text."""
    parts: list[object] = []
    for part in (form.thinking, form.speech, form.calls):
        if part is not None:
            parts += msgspec.structs.astuple(part)
    if form.calls is not None and form.calls.tags is not None:
        parts += msgspec.structs.astuple(form.calls.tags)
    return "\n".join(part for part in parts if isinstance(part, str))
