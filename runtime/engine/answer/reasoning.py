"""What a model thinks, set apart from what it answers: blocks such as <think>...</think>."""

from typing import Literal

from runtime.requests import Thinking

from .piece import Piece


class ReasoningSplitter:
    """Splits a stream of text, across the borders of its pieces.

    A block stands at the beginning of the answer, where the prompt may have opened it already; a
    later one is text, since answers write about such tags too.
    """

    def __init__(self, thinking: Thinking | None) -> None:
        self._thinking = thinking
        self._held = ""
        self._state: Literal["before", "inside", "behind", "after"] = "after"
        if thinking is not None:
            self._state = "inside" if thinking.is_open else "before"

    @property
    def is_inside(self) -> bool:
        """Whether the model thinks."""
        return self._state == "inside"

    def add(self, text: str) -> list[Piece]:
        """What this makes certain, often nothing."""
        self._held += text
        pieces: list[Piece] = []
        while (piece := self._next()) is not None:
            if piece.text:
                pieces.append(piece)
        return pieces

    def finish(self) -> list[Piece]:
        """The rest, when no more text comes."""
        rest, self._held = self._held, ""
        return [Piece("reasoning" if self.is_inside else "text", rest)] if rest else []

    def _next(self) -> Piece | None:
        """The next piece of what is held, perhaps without text; None where more has to come."""
        if not self._held:
            return None
        if self._state == "after" or self._thinking is None:
            return Piece("text", self._take(len(self._held)))
        match self._state:
            case "before":
                return self._before(self._thinking.start)
            case "inside":
                return self._inside(self._thinking.end)
            case _:  # the blank between the block and the answer belongs to neither
                self._held = self._held.lstrip()
                if self._held:
                    self._state = "after"
                return Piece("text", "") if self._held else None

    def _before(self, start: str) -> Piece | None:
        begun = self._held.lstrip()
        if begun.startswith(start):
            self._held = begun[len(start) :].lstrip("\n")
            self._state = "inside"
            return Piece("reasoning", "")
        if start.startswith(begun):
            return None
        self._state = "after"
        return Piece("text", "")

    def _inside(self, end: str) -> Piece | None:
        place = self._held.find(end)
        if place >= 0:
            thought = self._take(place).rstrip()
            self._take(len(end))
            self._state = "behind"
            return Piece("reasoning", thought)
        safe = self._held.rstrip()  # a blank before the end of the block is none of the thought
        for count in range(min(len(end) - 1, len(self._held)), 0, -1):
            if self._held.endswith(end[:count]):
                safe = self._held[: len(self._held) - count].rstrip()
                break
        return Piece("reasoning", self._take(len(safe))) if safe else None

    def _take(self, count: int) -> str:
        taken, self._held = self._held[:count], self._held[count:]
        return taken
