"""Merges for BPE, where a file has only the pieces and which of them is joined first."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

_MAX_PIECE_CHARS = 512  # merges are looked for in so many; real pieces have below 200
Piece = TypeVar("Piece", str, bytes)


def of_pieces(pieces: Iterable[Piece], ids: Mapping[Piece, int]) -> list[tuple[Piece, Piece]]:
    """Every pair of known pieces that makes a known one; `pieces` come in the order of joining.

    SentencePiece and tiktoken join whichever neighbours make the best piece, however that was made
    in training, so all its divisions count. Among them the order is that of transformers' converter
    (`generate_merges`): the one with the longer left half first.
    """
    merges: list[tuple[Piece, Piece]] = []
    for piece in pieces:
        cuts = range(min(len(piece), _MAX_PIECE_CHARS) - 1, 0, -1)
        pairs = ((piece[:cut], piece[cut:]) for cut in cuts)
        merges.extend((left, right) for left, right in pairs if left in ids and right in ids)
    return merges
