"""The longest beginnings of two lists of tokens that say the same, up to borders that both have."""

import codecs
import contextlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple, Protocol


class Tokenizer(Protocol):
    """What is asked of a model's tokenizer here."""

    marks: frozenset[int]  # added tokens: they stand for themselves, whatever is around them
    restarts: dict[int, str]  # those before which the text is cut, whatever it is
    longest_mark: int  # in characters

    def word(self, token: int) -> bytes: ...
    def is_same(self, tokens: Sequence[int], others: Sequence[int]) -> bool: ...


class Match(NamedTuple):
    """Beginnings of two lists of tokens that say the same."""

    plain: int
    known: int
    first: int = 0  # until here they are the same tokens
    marks: Sequence[tuple[int, int]] = ()  # behind that, the places of marks that both have

    def moved(self, plain: int) -> int:
        """Where a border of the tokens comes to be, when the known ones replace the others."""
        if plain <= self.first:
            return plain
        if plain >= self.plain:
            return plain - self.plain + self.known
        place = bisect_right(self.marks, plain, key=itemgetter(0))
        return self.marks[place - 1][1] if place else self.first


class Candidate:
    """A known prompt and an answer to it, from a mark on."""

    def __init__(self, tokens: "array[int]", start: int, drawn: list[tuple[int, int]]) -> None:
        """`start` is the mark's place; `drawn` are stretches of the tokens."""
        self.tokens = tokens[start:]
        self._is_drawn = bytearray(len(tokens))
        for first, end in drawn:
            self._is_drawn[first:end] = b"\1" * (end - first)
        del self._is_drawn[:start]

    def is_drawn(self, first: int, end: int) -> bool:
        """Whether a model drew one of these."""
        return self._is_drawn.find(1, first, end) >= 0


def longest_match(tokenizer: Tokenizer, plain: Sequence[int], candidate: Candidate) -> Match:
    """The longest match whose known tokens are decoded to what the plain ones are.

    Decoders differ in what they make of broken characters; where ours is wrong, there are none.
    """
    known = candidate.tokens
    for errors in ("replace", "strict"):
        match = _match(tokenizer, plain, candidate, errors)
        start, end = max(0, match.first - 1), match.plain + 1
        while end < len(plain) and _is_inside(tokenizer.word(plain[end])):
            end += 1
        after = plain[match.plain : end]
        if match.known == match.first or tokenizer.is_same(
            [*known[start : match.known], *after], [*plain[start : match.plain], *after]
        ):
            return match
    return Match(match.first, match.first, match.first)


def _match(tokenizer: Tokenizer, plain: Sequence[int], candidate: Candidate, errors: str) -> Match:
    """The longest beginnings that say the same and have the same marks at the same places.

    Only where something was drawn may the tokens differ.
    """
    known = candidate.tokens
    size = min(len(plain), len(known))
    first = next((place for place in range(size) if plain[place] != known[place]), size)
    # Both are compared from where a character begins.
    start, word = first, tokenizer.word
    while 0 < start < size and _is_inside(word(known[start])) and _is_inside(word(plain[start])):
        start -= 1
    one, other = (_Side(tokenizer, tokens, start, errors) for tokens in (plain, known))
    best, marks = (start, start), list[tuple[int, int]]()
    with contextlib.suppress(UnicodeDecodeError):
        while True:
            if one.is_at_border and other.is_at_border:
                stretches = zip(best, (one.place, other.place), strict=True)
                own, others = (slice(*stretch) for stretch in stretches)
                is_same = list(plain[own]) == list(known[others])
                if not is_same and not candidate.is_drawn(others.start, others.stop):
                    break
                _skip_same(one, other, marks, word)
                best = one.place, other.place
                if one.is_at_mark or other.is_at_mark:  # the other has not
                    break
            shorter, longer = (one, other) if len(one.said) <= len(other.said) else (other, one)
            if not shorter.go_on() and (longer.said or not longer.go_on()):
                break
            size = min(len(one.said), len(other.said))
            if one.said[:size] != other.said[:size]:
                break
            one.said, other.said = one.said[size:], other.said[size:]
    return Match(*max(best, (first, first)), first, marks)


def _skip_same(
    one: "_Side", other: "_Side", marks: list[tuple[int, int]], word: Callable[[int], bytes]
) -> None:
    """Pass by tokens that both have, from a border to a border, and note which are marks."""
    while (token := one.token) is not None and token == other.token:
        if one.is_at_mark:
            marks.append((one.place, other.place))
        elif not word(token).isascii():  # it may end within a character
            break
        one.place += 1
        other.place += 1


def _is_inside(word: bytes) -> bool:
    """Whether it may begin inside a character."""
    return not word or 0x80 <= word[0] < 0xC0


class _Side:
    """Tokens, and what they say that the other side has not said yet."""

    def __init__(
        self, tokenizer: Tokenizer, tokens: Sequence[int], place: int, errors: str
    ) -> None:
        self.said = ""
        self.place = place
        self._tokens = tokens
        self._marks = tokenizer.marks
        self._word = tokenizer.word
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    @property
    def token(self) -> int | None:
        """The next one."""
        return self._tokens[self.place] if self.place < len(self._tokens) else None

    @property
    def is_at_mark(self) -> bool:
        """Whether one comes next, or nothing."""
        return (token := self.token) is None or token in self._marks

    @property
    def is_at_border(self) -> bool:
        """Whether all is said, in whole characters."""
        return not self.said and not self._decoder.getstate()[0]

    def go_on(self) -> bool:
        """Say more; before a mark, what is left of a broken character. False if that is nothing."""
        token = self.token
        if token is None or token in self._marks:
            is_broken = bool(self._decoder.getstate()[0])
            self.said += self._decoder.decode(b"", final=True)
            return is_broken
        self.place += 1
        self.said += self._decoder.decode(self._word(token))
        return True
