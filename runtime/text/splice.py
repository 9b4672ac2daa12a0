"""A prompt read on from a similar one that was read before.

Text that a model drew comes back as text, and tokenising it again often gives other tokens than
were drawn: then nothing of it is found in a prefix cache. So the tokens of what is known stay, as
far as both say the same, and only what follows is tokenised.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import msgspec

from runtime.beginning import common_length
from runtime.text_messages import Known, Spliced

from .match import Candidate, Match, Tokenizer, longest_match

_NUM_SHOWN = 12  # tokens of a text around the place from where it differs


class Encoded(Protocol):
    """A text as `tokenizers` reads it."""

    @property
    def ids(self) -> list[int]: ...
    def token_to_chars(self, token_index: int) -> tuple[int, int] | None: ...
    def char_to_token(self, char_pos: int) -> int | None: ...


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
    _match: Match

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
            Candidate(tokens + answer, start_token, [*drawn, (len(tokens), len(tokens + answer))])
            for answer in answers or [array("I")]
        ]
        matches = [longest_match(tokenizer, plain, candidate) for candidate in candidates]
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
