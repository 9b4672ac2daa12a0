"""What a model thinks, set apart from what it answers: blocks such as <think>...</think>.

Where what is said stands between marks too, these are taken away: of gpt-oss' channels, `analysis`
is thought and `final` is said.
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

from registry.checkpoint.call_syntax import Speech
from runtime.requests import Thinking

from .piece import Piece
from .source import overlap

_MARK = re.compile(r"<[^<>]*>")
_State: TypeAlias = Literal["before", "inside", "after"]


class ReasoningSplitter:
    """Splits a stream of text, across the borders of its pieces.

    A block stands at the beginning of the answer, where the prompt may have opened it already; a
    later one is text, since answers write about such tags too. Answers whose speech is marked have
    several parts, and a block may begin each of them.
    """

    def __init__(
        self,
        thinking: Thinking | None,
        speech: Speech | None = None,
        on_part: Callable[[bool], None] = lambda is_speech: None,
    ) -> None:
        """`on_part` is called before the text of a part comes, and whether it is said."""
        self._thinking = thinking
        self._speech = speech
        self._on_part = on_part
        self._held = ""
        self._state: _State = "after"
        self._is_blank = False  # behind a mark, where white space is nobody's
        if thinking is not None or speech is not None:
            self._state = "before"
        if thinking is not None and thinking.is_open:
            self._enter("inside")

    @property
    def is_inside(self) -> bool:
        """Whether the model thinks."""
        return self._state == "inside"

    def add(self, text: str) -> Iterator[Piece]:
        """What this makes certain, often nothing."""
        self._held += text
        while (piece := self._next()) is not None:
            if piece.text:
                yield piece

    def finish(self) -> list[Piece]:
        """The rest, when no more text comes."""
        rest, self._held = self._held, ""
        if self._speech is not None and not self.is_inside:
            if (mark := _MARK.match(self._speech.end)) is not None:
                rest = rest.removesuffix(mark[0])  # where nothing follows, that is all of it
        return [Piece("reasoning" if self.is_inside else "text", rest)] if rest else []

    def _next(self) -> Piece | None:
        """The next piece of what is held, perhaps without text; None where more has to come."""
        if self._is_blank:
            self._held = self._held.lstrip()
        if not self._held:
            return None
        self._is_blank = False
        match self._state:
            case "before":
                return self._before()
            case "inside":
                return self._inside("" if self._thinking is None else self._thinking.end)
            case "after":
                return self._after("" if self._speech is None else self._speech.end)

    def _before(self) -> Piece | None:
        begun = self._held.lstrip()
        starts: dict[_State, str] = {}
        if self._thinking is not None:
            starts["inside"] = self._thinking.start.strip()
            starts["before"] = self._thinking.end.strip()  # some close what they did not open
        if self._speech is not None:
            starts["after"] = self._speech.start.strip()
        for state, start in starts.items():
            if begun.startswith(start):
                self._held = begun[len(start) :]
                if state == "after":
                    self._on_part(True)
                self._enter("after" if state == "before" and self._speech is None else state)
                return Piece("text", "")
        if any(start.startswith(begun) for start in starts.values()):
            return None
        self._state = "after"
        self._on_part(False)
        return Piece("text", "")

    def _inside(self, end: str) -> Piece | None:
        place = self._held.find(end)
        if place >= 0:
            thought = self._take(place).rstrip()
            self._take(len(end))
            self._enter("after" if self._speech is None else "before")
            return Piece("reasoning", thought)
        held = overlap(self._held, end)
        # A blank before the end of the block is none of the thought.
        safe = self._held[: len(self._held) - held].rstrip()
        return Piece("reasoning", self._take(len(safe))) if safe else None

    def _after(self, end: str) -> Piece | None:
        if not end:
            return Piece("text", self._take(len(self._held)))
        if (place := self._held.find(end)) == 0:
            self._take(len(end))
            self._enter("before")
            return Piece("text", "")
        safe = place if place > 0 else len(self._held) - overlap(self._held, end)
        return Piece("text", self._take(safe)) if safe else None

    def _enter(self, state: _State) -> None:
        self._state, self._is_blank = state, True

    def _take(self, count: int) -> str:
        taken, self._held = self._held[:count], self._held[count:]
        return taken
