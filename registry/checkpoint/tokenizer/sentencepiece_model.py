"""A SentencePiece model, read from its file (tokenizer.model).

The schema is src/sentencepiece_model.proto of google/sentencepiece; what is not needed to encode
and decode is skipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from registry.errors import NotAModel

from .protobuf import Value, fields, float32

_COMPOSING = (b"nfkc", b"nmt_nfkc", b"nfkc_cf", b"nmt_nfkc_cf")  # of the library's published rules
# The numbers of fields: of the model, the trainer's and the normalizer's settings.
_PIECE, _TRAINER, _NORMALIZER, _DENORMALIZER = 1, 2, 3, 5
_ALGORITHM, _SPACES_BEHIND = 3, 24
_RULES, _CHARSMAP, _DUMMY_PREFIX, _EXTRA_SPACES, _MARKS_SPACES = range(1, 6)
_EMPTY = memoryview(b"")
_Read = Value | memoryview


class Kind(IntEnum):
    """What a piece is (`SentencePiece.Type`)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Algorithm(IntEnum):
    """How a text is cut into pieces (`TrainerSpec.ModelType`)."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text; its place is its id."""

    text: str
    score: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """Pieces, and what is done to a text before it is cut into them."""

    pieces: tuple[Piece, ...]
    algorithm: Algorithm
    charsmap: bytes  # replaces characters; empty: nothing is replaced
    composes: bool  # a letter and its marks become one character, as in Unicode's NFKC
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool

    @property
    def unknown_id(self) -> int:
        return next(id for id, piece in enumerate(self.pieces) if piece.kind is Kind.UNKNOWN)


def read(path: Path) -> SentencePieceModel:
    """Raises OSError; NotAModel if the file is damaged, or does what is not done here."""
    try:
        return _model(memoryview(path.read_bytes()))
    except (ValueError, UnicodeDecodeError) as error:
        raise NotAModel(f"{path.name} is no SentencePiece model: {error}.") from None


def _model(message: memoryview) -> SentencePieceModel:
    pieces, parts = [], {}
    for number, value in fields(message):
        if number == _PIECE:
            pieces.append(_piece(_bytes(value)))
        else:
            parts[number] = value
    trainer, normalizer, denormalizer = (
        dict(fields(_bytes(parts.get(number, _EMPTY))))
        for number in (_TRAINER, _NORMALIZER, _DENORMALIZER)
    )
    if sum(piece.kind is Kind.UNKNOWN for piece in pieces) != 1:
        raise ValueError("exactly one of its pieces has to stand for the unknown")
    if len({piece.text for piece in pieces}) != len(pieces):
        raise ValueError("a piece is there twice")
    if (
        _int(trainer, _SPACES_BEHIND, 0)
        or not _int(normalizer, _MARKS_SPACES, 1)
        or _bytes(denormalizer.get(_CHARSMAP, _EMPTY))
    ):
        raise ValueError(
            "it puts spaces behind words, does not mark them, or changes text when it is decoded, "
            "which is not done here"
        )
    return SentencePieceModel(
        tuple(pieces),
        Algorithm(_int(trainer, _ALGORITHM, Algorithm.UNIGRAM)),
        charsmap=bytes(_bytes(normalizer.get(_CHARSMAP, _EMPTY))),
        composes=bytes(_bytes(normalizer.get(_RULES, _EMPTY))) in _COMPOSING,
        add_dummy_prefix=bool(_int(normalizer, _DUMMY_PREFIX, 1)),
        remove_extra_whitespaces=bool(_int(normalizer, _EXTRA_SPACES, 1)),
    )


def _piece(message: memoryview) -> Piece:
    found = dict(fields(message))
    text = str(_bytes(found.get(1, _EMPTY)), "utf-8")
    score = float32(found[2]) if 2 in found else 0.0
    return Piece(text, score, Kind(_int(found, 3, Kind.NORMAL)))


def _bytes(value: _Read) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number was found where text or a message was expected")
    return memoryview(value)


def _int(message: Mapping[int, _Read], number: int, default: int) -> int:
    value = message.get(number, default)
    if not isinstance(value, int):
        raise ValueError("text was found where a number was expected")
    return value
