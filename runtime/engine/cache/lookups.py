"""How the last prompts fared with the prefix cache, and why no more of them was reused."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.cached import Blocked, Lookup

from .prefix_tree import common_length

_NUM_TOLD = 32
_NUM_REMEMBERED = 32  # prompts and answers that a new prompt is compared with
_REMEMBERED_TOKENS = 1 << 20  # of all these together
_AROUND = 12  # tokens that are shown on each side of a difference
_ALIKE_TOKENS = 8  # with fewer in common, a prompt is not like another


@dataclass(frozen=True, slots=True)
class _Noted:
    id: int
    at: float
    num_tokens: int
    num_cached: int
    num_matched: int
    blocked: Blocked
    before: list[int]
    known: list[int]
    asked: list[int]


class Lookups:
    """Tokens are noted, and put into words only when somebody asks."""

    def __init__(self) -> None:
        self.num_tokens = 0  # of all prompts
        self.num_cached = 0
        self._noted: deque[_Noted] = deque(maxlen=_NUM_TOLD)
        self._remembered: deque[list[int]] = deque(maxlen=_NUM_REMEMBERED)

    def remember(self, tokens: list[int]) -> None:
        """What was read and said, held or not."""
        self._remembered.append(tokens)
        while sum(map(len, self._remembered)) > _REMEMBERED_TOKENS and len(self._remembered) > 1:
            self._remembered.popleft()

    def forget(self) -> None:
        """Drop what was noted of prompts; their numbers stay."""
        self._noted.clear()
        self._remembered.clear()

    def note(
        self,
        id: int,
        tokens: Sequence[int],
        num_cached: int,
        num_held: int,
        *,
        is_short: bool = False,
    ) -> None:
        """Of a prompt so many tokens were reused, and so many at its beginning are held at all:
        too few to be worth it, if it `is_short`.
        """
        self.num_tokens += len(tokens)
        self.num_cached += num_cached
        matched, known = num_held, list[int]()
        asked = list(tokens)
        for other in self._remembered:
            common = common_length(other, asked)
            if common > matched or (common == matched and len(other) > len(known)):
                matched, known = common, other
        whole = min(len(tokens) - 1, len(known))
        blocked = _blocked(num_held if is_short else num_cached, num_held, matched, whole)
        if is_short and not blocked:
            blocked = "short"
        start = max(0, matched - _AROUND)
        shown = (
            slice(matched, matched + _AROUND)
            if blocked in ("differs", "no_checkpoint")
            else slice(0)
        )
        self._noted.appendleft(
            _Noted(
                id,
                time.time(),
                len(tokens),
                num_cached,
                matched,
                blocked,
                list(tokens[start:matched]) if shown.stop else [],
                known[shown],
                list(tokens[shown]),
            )
        )

    def told(self, text_of: Callable[[int], bytes]) -> list[Lookup]:
        """The last of them, the newest first."""

        def text(tokens: Sequence[int]) -> str:
            return b"".join(map(text_of, tokens)).decode(errors="replace")

        return [
            Lookup(
                each.id,
                each.at,
                each.num_tokens,
                each.num_cached,
                each.num_matched,
                each.blocked,
                text(each.before),
                text(each.known),
                text(each.asked),
            )
            for each in self._noted
        ]


def _blocked(num_cached: int, num_held: int, matched: int, whole: int) -> Blocked:
    if matched < _ALIKE_TOKENS:
        return "new"
    if num_cached < min(num_held, matched, whole):
        return "no_checkpoint"
    if num_held < min(matched, whole):
        return "evicted"
    return "differs" if matched < whole else ""
