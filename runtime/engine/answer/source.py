"""Text that comes in pieces, for parsers that are generators: they yield where they need more."""

import re
from collections.abc import Generator, Sequence
from functools import lru_cache
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Reading: TypeAlias = Generator[None, None, T]


class Source:
    """What was not read yet. Owned by one parser."""

    def __init__(self) -> None:
        self.text = ""
        self.is_over = False  # no more comes
        self.mark_read = ""  # the last one, as it stood there
        self._kept: list[str] | None = None

    def take(self, count: int) -> str:
        """Read so many characters."""
        taken, self.text = self.text[:count], self.text[count:]
        if self._kept is not None:
            self._kept.append(taken)
        return taken

    def put_back(self, text: str) -> None:
        """Unread what was read last."""
        self.text = text + self.text
        if self._kept:
            self._kept[-1] = self._kept[-1].removesuffix(text)

    def keep(self) -> None:
        """Remember what is read from here on."""
        self._kept = []

    def kept(self) -> str:
        """What was read since; it is not remembered any longer."""
        kept, self._kept = "".join(self._kept or ()), None
        return kept

    def more(self) -> Reading[bool]:
        """Wait for more text. False where none comes."""
        if self.is_over:
            return False
        yield
        return True

    def blanks(self) -> Reading[str]:
        """Read white space."""
        blanks = ""
        while True:
            blanks += self.take(len(self.text) - len(self.text.lstrip()))
            if self.text or not (yield from self.more()):
                return blanks

    def mark(self, *marks: str) -> Reading[str | None]:
        """Read the mark that stands here, the longest of several; None if there is none."""
        while True:
            ends = {mark: end for mark in marks if (end := match(mark, self.text)) != _NO}
            if None not in ends.values() or not (yield from self.more()):
                break
        whole = {mark: end for mark, end in ends.items() if end is not None}
        if not whole:
            return None
        longest = max(whole, key=lambda mark: whole[mark])
        self.mark_read = self.take(whole[longest])
        return longest

    def until(self, *marks: str, limit: int | None = None) -> Reading[str | None]:
        """Read what stands before the first of the marks, which stays. None if none comes, or not
        within the limit."""
        searched, longest = 0, max(map(len, marks))
        while True:
            places = [at for mark in marks if (at := self.text.find(mark, searched)) >= 0]
            size = len(self.text)
            begun = size - max(overlap(self.text, mark) for mark in marks)  # what may become one
            if places and (min(places) <= begun or self.is_over):
                is_near = limit is None or min(places) <= limit
                return self.take(min(places)) if is_near else None
            if limit is not None and begun > limit:
                return None
            searched = max(0, size - longest + 1) if not places else searched
            if not (yield from self.more()):
                return None


_NO = -1


def match(mark: str, text: str) -> int | None:
    """Where the mark ends, if the text begins with it; None if it may yet; else -1.

    White space in a mark stands for any, or none: models are not as exact as templates.
    """
    at = 0
    for part in _parts(mark):
        if part == " ":
            at = len(text) - len(text[at:].lstrip())
        elif text.startswith(part, at):
            at += len(part)
        else:
            return None if part.startswith(text[at:]) else _NO
    return at


@lru_cache(maxsize=1024)
def _parts(mark: str) -> Sequence[str]:
    return [" " if part.isspace() else part for part in re.split(r"(\s+)", mark.strip()) if part]


def overlap(text: str, mark: str) -> int:
    """How many characters at the end of the text may be the beginning of the mark."""
    if mark[:1] not in text[1 - len(mark) :]:  # nearly always
        return 0
    counts = range(min(len(mark) - 1, len(text)), 0, -1)
    return next((count for count in counts if mark.startswith(text[-count:])), 0)
