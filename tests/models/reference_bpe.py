"""SmolLM's byte-level BPE as llama.cpp describes it, in plain Python: the oracle of its token ids.

The patterns are those of `LLAMA_VOCAB_PRE_TYPE_SMOLLM` in llama.cpp's src/llama-vocab.cpp: each
digit is a word of its own, and between digits words are GPT-2's.
"""

from pathlib import Path

import regex
from gguf import GGUFReader

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTROL = 3


class ReferenceBpe:
    """Merges the pair of the lowest rank, word by word, until there is none."""

    def __init__(self, path: Path) -> None:
        fields = GGUFReader(path).fields
        tokens, types, merges = (
            fields[f"tokenizer.ggml.{name}"].contents()
            for name in ("tokens", "token_type", "merges")
        )
        self._ids = {token: id for id, token in enumerate(tokens)}
        self._ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
        special = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
        self._special = regex.compile("(" + "|".join(map(regex.escape, special)) + ")")
        self._bytes = _printable_bytes()

    def ids(self, text: str) -> list[int]:
        """Of a text in which special tokens are meant as such."""
        found = []
        for place, stretch in enumerate(self._special.split(text)):
            if place % 2:
                found.append(self._ids[stretch])
                continue
            for part in regex.split(r"(\p{N})", stretch):
                for word in regex.findall(_WORDS, part):
                    found += [self._ids[piece] for piece in self._pieces(word)]
        return found

    def _pieces(self, word: str) -> list[str]:
        pieces = [self._bytes[byte] for byte in word.encode()]
        while len(pieces) > 1:
            pairs = list(zip(pieces, pieces[1:], strict=False))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            at = pairs.index(best)
            pieces[at : at + 2] = ["".join(best)]
        return pieces


def _printable_bytes() -> dict[int, str]:
    """GPT-2's letters for bytes: those that print stand for themselves, the rest from U+0100 on."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return {byte: chr(byte) for byte in own} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }
