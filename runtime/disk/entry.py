"""A file of the folder, as its name tells it: which one it goes on from, and how far."""

import re
from dataclasses import dataclass

_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})-(\d{1,9})-(\d{1,9})-([01])")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a model read of so many tokens, which stand behind those of the parent.

    A key is a keyed hash of the parent's key and the tokens, so a name says nothing of them.
    """

    parent: str
    key: str
    num_tokens: int
    num_windowed: int = 0  # of the last tokens, what windows hold of them is here too
    has_state: bool = False  # and a state as of the end

    @property
    def name(self) -> str:
        parts = self.parent, self.key, self.num_tokens, self.num_windowed, int(self.has_state)
        return "-".join(map(str, parts))

    @classmethod
    def of(cls, name: str) -> "Entry | None":
        """By its name; None for a file of another kind."""
        if (match := _NAME.fullmatch(name)) is None:
            return None
        parent, key, num_tokens, num_windowed, has_state = match.groups()
        return cls(parent, key, int(num_tokens), int(num_windowed), has_state == "1")
