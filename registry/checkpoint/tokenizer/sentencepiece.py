"""SentencePiece's ways to cut a text into pieces, done by `tokenizers`.

Called with a model's own file (`build`) and with what a GGUF copied from one.
"""

from collections.abc import Sequence
from enum import Enum

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from . import merges
from .sentencepiece_model import Algorithm, Kind, Piece, SentencePieceModel

_SPACE = "▁"
_NUM_BYTES = 256
_PARTING = "\ufff0"  # no character, and none ever
# Before what is drawn with the character before it (Unicode's grapheme clusters).
_CONTINUES = (
    r"(?!\A)(?=[\p{M}\x{200c}\x{200d}\x{e33}\x{eb3}\x{1f3fb}-\x{1f3ff}\x{e0020}-\x{e007f}\n])"
)


class Prefix(Enum):
    """Where a text gets a space before it."""

    NEVER = "never"
    EVERY_STRETCH = "every stretch"  # between special tokens, for each of them is encoded alone
    FIRST = "first"  # only where the whole begins


def build(model: SentencePieceModel, prefix: Prefix) -> Tokenizer:
    """A tokenizer that gives the ids of the sentencepiece library.

    Control pieces are special tokens, which the library does not look for in a text. Raises
    ValueError if the model cuts texts in a way that is not known here.
    """
    unknown = model.pieces[model.unknown_id].text
    if model.algorithm is Algorithm.UNIGRAM:
        kind: models.Model = _unigram(model)
    elif model.algorithm in (Algorithm.BPE, Algorithm.CHAR):
        kind = bpe(model.pieces, unknown, has_merges=model.algorithm is Algorithm.BPE)
    else:
        raise ValueError("it knows whole words only, which is not done here")
    symbols = [p.text for p in model.pieces if p.kind is Kind.USER_DEFINED and p.text]
    if model.remove_extra_whitespaces:
        symbols = [text for text in symbols if text.strip(f"{_SPACE} ")]  # others are taken away
    tokenizer = Tokenizer(kind)
    tokenizer.normalizer = normalizers.Sequence(_normalizers(model, prefix, symbols))
    if prefix is Prefix.FIRST:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    spaces = _most_spaces(model) if prefix is not Prefix.NEVER else 0
    tokenizer.decoder = decoder(spaces)
    special = [p.text for p in model.pieces if p.kind in (Kind.CONTROL, Kind.UNKNOWN) and p.text]
    tokenizer.add_tokens(
        [AddedToken(text, special=True, normalized=False) for text in special]
        # Looked for when all of the text between special tokens is normalised, as the library does.
        + [AddedToken(text, special=False, normalized=True) for text in symbols]
    )
    return tokenizer


def bpe(pieces: Sequence[Piece], unknown: str | None, *, has_merges: bool = True) -> models.BPE:
    """Joins the neighbours whose piece has the best score."""
    ids: dict[str, int] = {}  # of a piece that comes twice, the first counts
    for id, piece in enumerate(pieces):
        if piece.kind is not Kind.UNUSED:
            ids.setdefault(piece.text, id)
    normal = [piece for piece in pieces if piece.kind is Kind.NORMAL]
    known = {piece.text: ids[piece.text] for piece in normal}
    ordered = [piece.text for piece in sorted(normal, key=lambda piece: -piece.score)]
    return models.BPE(
        ids,
        merges.of_pieces(ordered, known) if has_merges else [],
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=_has_bytes(pieces),
    )


def decoder(spaces: int) -> decoders.Decoder:
    """Back to text, without so many of the spaces that it begins with."""
    return decoders.Sequence(
        [
            decoders.Replace(_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", spaces, 0)] if spaces else []),
        ]
    )


def _unigram(model: SentencePieceModel) -> models.Unigram:
    vocabulary = [
        # What is unused is never found; its place keeps the ids.
        (f"<|unused {id}|>" if piece.kind is Kind.UNUSED else piece.text, piece.score)
        for id, piece in enumerate(model.pieces)
    ]
    return models.Unigram(vocabulary, model.unknown_id, byte_fallback=_has_bytes(model.pieces))


def _has_bytes(pieces: Sequence[Piece]) -> bool:
    return sum(piece.kind is Kind.BYTE for piece in pieces) == _NUM_BYTES


def _most_spaces(model: SentencePieceModel) -> int:
    """How many spaces are taken from the beginning of a decoded text."""
    return 1 << 16 if model.remove_extra_whitespaces else 1


def _normalizers(
    model: SentencePieceModel, prefix: Prefix, symbols: list[str]
) -> list[normalizers.Normalizer]:
    """The steps of `Normalizer::Normalize` in the library's src/normalizer.cc."""
    steps: list[normalizers.Normalizer] = []
    prepend = [normalizers.Prepend(_SPACE)] if prefix is Prefix.EVERY_STRETCH else []
    if not model.remove_extra_whitespaces:
        steps += prepend
    if model.charsmap:
        steps += [
            # `Precompiled` replaces what is drawn as one by what its beginning is replaced with, so
            # characters are parted while it works.
            normalizers.Replace(Regex(_CONTINUES), _PARTING),
            normalizers.Precompiled(model.charsmap),
            normalizers.Replace(_PARTING, ""),
        ]
        # The sequences that the published rules know, and `Precompiled` does not, are compositions.
        steps += [normalizers.NFC()] if model.composes else []
    if model.remove_extra_whitespaces:
        steps += [
            normalizers.Replace(Regex(r"\A +"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
            *prepend,
        ]
    steps.append(normalizers.Replace(" ", _SPACE))
    if model.remove_extra_whitespaces:
        steps.append(normalizers.Replace(Regex(rf"{_SPACE}+\z"), ""))
    if prepend and symbols:
        # A symbol is looked for as it is normalised itself, so it must not get a space; nor does
        # a text that is nothing but a symbol.
        alone = "|".join(map(_escaped, symbols))
        steps.append(normalizers.Replace(Regex(rf"\A{_SPACE}(?=(?:{alone})\z)"), ""))
    return steps


def _escaped(text: str) -> str:
    """For Oniguruma, whichever of its signs are in the text."""
    return "".join(rf"\x{{{ord(letter):x}}}" for letter in text)
