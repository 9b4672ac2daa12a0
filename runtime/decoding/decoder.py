"""A tokenizer's decoder for streams: token by token, what it gives for the whole answer.

`tokenizers` has a DecodeStream, which decodes a window of last tokens again and again: it loses
indentation behind a newline, for a window begins like a text (its issue 2212), and fails where text
changes later ("invalid prefix"). So the decoder's own steps are taken piece by piece here.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from tokenizers import Tokenizer

from registry.checkpoint.tokenizer import decoder as settings

from . import steps
from .steps import Step

_BROKEN = "\ufffd"


class Stream(Protocol):
    """The text of one answer. What it gives, joined, is what the tokenizer decodes of all tokens.

    Special tokens are left out, but those that are marks of the answer; and broken characters at
    the end.
    """

    def add(self, token: int) -> str:
        """The text that this token makes certain, often none."""
        ...

    def finish(self) -> str:
        """The rest; no token comes any more."""
        ...


class Decoder:
    """One for all rows of a model: they share what was looked up."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """`tokenizer` does not change any more."""
        self._tokenizer = tokenizer
        self._pieces = _Pieces(tokenizer)
        try:
            self._steps: list[Callable[[], Step]] | None = _steps(tokenizer)
        except steps.NotByPieces:
            self._steps = None
            return
        while self._steps:
            step = self._steps[0]()
            if not isinstance(step, steps.Map) or step.has_first:
                break
            self._pieces.changes.append(step.change)  # once for every token of the vocabulary
            del self._steps[0]

    def text_of(self, token: int) -> bytes:
        """What one token stands for in the middle of a text; its own words, if it is special."""
        piece: str | bytes = self._tokenizer.id_to_token(token) or ""
        if self._pieces[token] is None:
            return str(piece).encode()
        piece = self._pieces[token] or ""
        for step in self._steps or ():
            if isinstance(piece, str):
                piece = step().alone(piece)
        return piece if isinstance(piece, bytes) else piece.encode()

    def stream(self, marks: str = "") -> Stream:
        """A fresh one. Its cost for each token does not grow with the answer.

        Special tokens that occur in `marks` are text.
        """
        if self._steps is None:
            return _WholeStream(self._tokenizer)
        kept = self._pieces.special_in(marks) if marks else {}
        return _PieceStream(self._pieces, [step() for step in self._steps], kept)


def _steps(tokenizer: Tokenizer) -> list[Callable[[], Step]]:
    """Raises NotByPieces for a decoder that must see the whole answer."""
    if tokenizer.decoder is None:
        return [lambda: steps.Map(lambda piece: " " + piece, lambda piece: piece)]
    found: list[Callable[[], Step]] = []
    is_fused = False
    for step in settings.steps(tokenizer.decoder):
        if step["type"] != "Fuse":
            found.append(steps.of_text(step) if is_fused else steps.of_tokens(step))
        is_fused = is_fused or step["type"] in ("Fuse", "ByteLevel")
    return found


class _Pieces(dict[int, str | None]):
    """What each token that was met stands for; None if it is no text, as special tokens are."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.changes: list[Callable[[str], str]] = []
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._special = {token.content: id for id, token in added.items() if token.special}
        self.special_in = lru_cache(maxsize=64)(self._special_in)

    def _special_in(self, marks: str) -> dict[int, str]:
        """Special tokens that occur in the text, by their ids."""
        return {id: content for content, id in self._special.items() if content in marks}

    def __missing__(self, token: int) -> str | None:
        piece = self._tokenizer.id_to_token(token)
        if piece in self._special:
            piece = None
        if piece is not None:
            for change in self.changes:
                piece = change(piece)
        self[token] = piece
        return piece


class _PieceStream:
    def __init__(self, pieces: _Pieces, steps: Sequence[Step], kept: Mapping[int, str]) -> None:
        """`kept`: special tokens that are text."""
        self._pieces = pieces
        self._steps = steps
        self._kept = kept
        self._num_broken = 0  # characters held back

    def add(self, token: int) -> str:
        piece = self._pieces[token]
        if piece is None and (piece := self._kept.get(token)) is None:
            return ""
        return self._release(self._through((piece,), self._steps))

    def finish(self) -> str:
        text = ""
        for place, step in enumerate(self._steps):
            text += self._through(step.finish(), self._steps[place + 1 :])
        return self._release(text)

    def _through(self, pieces: Sequence[str], steps: Sequence[Step]) -> str:
        for step in steps:
            if len(pieces) == 1:  # nearly always
                pieces = step.add(pieces[0])
            else:
                pieces = [made for piece in pieces for made in step.add(piece)]
        return pieces[0] if len(pieces) == 1 else "".join(pieces)

    def _release(self, text: str) -> str:
        """Hold back broken characters: at the end of an answer they are not sent."""
        if not text or not (self._num_broken or text[-1] == _BROKEN):
            return text
        text = _BROKEN * self._num_broken + text
        whole = text.rstrip(_BROKEN)
        self._num_broken = len(text) - len(whole)
        return whole


class _WholeStream:
    """For a decoder that has to see the whole answer (CTC): its text comes at the end."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []

    def add(self, token: int) -> str:
        self._tokens.append(token)
        return ""

    def finish(self) -> str:
        text: str = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        return text.rstrip(_BROKEN)
