"""A prompt read on from a similar one that was read before.

Text that a model drew comes back as text, and tokenising it again often gives other tokens than
were drawn: then nothing of it is found in a prefix cache. So the tokens of what is known stay, as
far as both say the same, and only what follows is tokenised.
"""

import codecs
import contextlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

import msgspec

from runtime.beginning import common_length
from runtime.text_messages import Known, Spliced

_NUM_SHOWN = 12  # tokens of a text around the place from where it differs


class Encoded(Protocol):
    """A text as `tokenizers` reads it."""

    @property
    def ids(self) -> list[int]: ...
    def token_to_chars(self, token_index: int) -> tuple[int, int] | None: ...
    def char_to_token(self, char_pos: int) -> int | None: ...


class Tokenizer(Protocol):
    """What is asked of a model's tokenizer here."""

    marks: frozenset[int]  # added tokens: they stand for themselves, whatever is around them
    restarts: dict[int, str]  # those before which the text is cut, whatever it is
    longest_mark: int  # in characters

    def word(self, token: int) -> bytes: ...
    def is_same(self, tokens: Sequence[int], others: Sequence[int]) -> bool: ...


@dataclass(frozen=True)
class Splice:
    """A prompt's tokens, some of them as they were drawn."""

    tokens: list[int]
    marks: list[tuple[int, int]]  # characters and tokens before each that the text is cut at
    drawn: list[tuple[int, int]]  # ends of stretches of tokens that a model drew
    told: Spliced
    said: str  # by the answer, up to where the prompt says something else
    known: Known | None  # whose tokens were taken over
    _start: tuple[int, int]  # characters and tokens that were taken over unread
    _borders: list[tuple[int, int]]  # characters and tokens before some places there
    _behind: "Encoded"  # what follows, as it is tokenised
    _match: "Match"

    @property
    def num_read(self) -> int:
        """How many tokens are not taken over."""
        return len(self._behind.ids) - self._match.plain

    def token_at(self, char: int) -> int:
        """How many whole tokens stand before this character of the text."""
        start_char, start_token = self._start
        if char < start_char:
            before = (tokens for chars, tokens in (*self.marks, *self._borders) if chars <= char)
            return max(before, default=0)
        plain = self._behind.char_to_token(char - start_char)
        if plain is None:
            plain = len(self._behind.ids)
        return start_token + self._match.moved(plain)


class Match(NamedTuple):
    """Beginnings of two lists of tokens that say the same."""

    plain: int
    known: int
    first: int = 0  # until here they are the same tokens
    marks: dict[int, int] = {}  # behind that, marks that both have

    def moved(self, plain: int) -> int:
        """Where a border of the tokens comes to be, when the known ones replace the others."""
        if plain <= self.first:
            return plain
        if plain >= self.plain:
            return plain - self.plain + self.known
        before = max((mark for mark in self.marks if mark <= plain), default=None)
        return self.first if before is None else self.marks[before]


def splice(
    tokenizer: Tokenizer, text: str, known: Sequence[Known], encode: Callable[[str], Encoded]
) -> Splice:
    """The prompt, with the tokens of whatever leaves least of it to be read.

    `encode` is asked of what follows the last mark of what is known.
    """
    encoded = cache(encode)
    candidates: Sequence[Known | None] = known or [None]
    spliced = [_spliced(tokenizer, text, one, encoded) for one in candidates]
    return min(spliced, key=lambda splice: splice.num_read)


def _spliced(
    tokenizer: Tokenizer, text: str, known: Known | None, encode: Callable[[str], Encoded]
) -> Splice:
    tokens, marks, drawn = array("I"), array("I"), list[tuple[int, int]]()
    common = start_char = start_token = 0
    if known is not None:
        tokens.frombytes(known.tokens)
        marks.frombytes(known.reading.marks)
        drawn = [*known.reading.drawn]
        common = common_length(text, known.reading.text)
        # Were it nearer, a longer mark might begin there.
        place = bisect_right(marks[::2], common - tokenizer.longest_mark)
        if place:
            start_char, start_token = marks[2 * place - 2 : 2 * place]
    behind = encode(text[start_char:])
    plain = behind.ids
    found, match = array("I"), Match(0, 0)
    if known is not None:
        is_whole = common == len(known.reading.text)  # so that an answer may follow
        answers = [array("I", answer) for answer in known.answers] if is_whole else []
        candidates = [
            _Candidate(tokens + answer, start_token, [*drawn, (len(tokens), len(tokens + answer))])
            for answer in answers or [array("I")]
        ]
        matches = [_checked(tokenizer, plain, candidate) for candidate in candidates]
        match = max(matches, key=lambda match: match.plain)
        found = candidates[matches.index(match)].tokens
    size = start_token + match.known  # that are taken over
    drawn = [
        (start, min(end, size)) for start, end in (*drawn, (len(tokens), size)) if start < size
    ]
    places = list(zip(marks[::2], marks[1::2], strict=True)) if start_char else []
    places = [place for place in places if place[0] < start_char]
    for place, token in enumerate(plain):
        if token in tokenizer.restarts:
            chars = behind.token_to_chars(place)
            # One that stands for what is unknown is none.
            if chars and text.startswith(tokenizer.restarts[token], start_char + chars[0]):
                places.append((start_char + chars[0], start_token + match.moved(place)))
    return Splice(
        [*tokens[:start_token], *found[: match.known], *plain[match.plain :]],
        places,
        drawn,
        _told(tokenizer, known, len(tokens) - start_token, start_token, plain, found, match),
        _said(tokenizer, found[len(tokens) - start_token : match.known]),
        known,
        (start_char, start_token),
        [] if known is None else [pair for pair in known.reading.borders if pair[0] <= start_char],
        behind,
        match,
    )


class _Candidate:
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


def _told(
    tokenizer: Tokenizer,
    known: Known | None,
    num_asked: int,
    num_skipped: int,
    plain: Sequence[int],
    found: Sequence[int],
    match: Match,
) -> Spliced:
    """What came of it, in numbers and words; `num_asked` of the found ones are no answer."""
    if known is None:
        return Spliced()
    told = Spliced(
        known_tokens=num_skipped + len(found),
        reused_tokens=num_skipped + match.known,
        drawn_tokens=len(found) - num_asked,
        reused_drawn_tokens=max(0, match.known - num_asked),
        stopped="",
    )
    if match.known == len(found):
        return told
    around = (
        found[max(0, match.known - _NUM_SHOWN) : match.known],
        found[match.known : match.known + _NUM_SHOWN],
        plain[match.plain : match.plain + _NUM_SHOWN],
    )
    before, had, has = (_said(tokenizer, tokens) for tokens in around)
    return msgspec.structs.replace(told, stopped="differs", before=before, known=had, asked=has)


def _said(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    return b"".join(map(tokenizer.word, tokens)).decode("utf-8", "replace")


def _checked(tokenizer: Tokenizer, plain: Sequence[int], candidate: _Candidate) -> Match:
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


def _match(tokenizer: Tokenizer, plain: Sequence[int], candidate: _Candidate, errors: str) -> Match:
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
    best, marks = (start, start), dict[int, int]()
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
    one: "_Side", other: "_Side", marks: dict[int, int], word: Callable[[int], bytes]
) -> None:
    """Pass by tokens that both have, from a border to a border, and note which are marks."""
    while (token := one.token) is not None and token == other.token:
        if one.is_at_mark:
            marks[one.place] = other.place
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
