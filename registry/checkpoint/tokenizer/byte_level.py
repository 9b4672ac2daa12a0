"""Byte-level BPE: a text is cut into words by patterns, and its bytes are joined by merges.

Each byte is written as a character, GPT-2's way (`bytes_to_unicode` in openai/gpt-2,
src/encoder.py), so that a vocabulary of bytes is a JSON file of text.
"""

from collections.abc import Mapping, Sequence
from itertools import count

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from . import merges

_VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_others = count(0x100)
_LETTERS = {byte: chr(byte if byte in _VISIBLE else next(_others)) for byte in range(256)}
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}


def written(token: bytes) -> str:
    """A token as the vocabulary spells it."""
    return "".join(_LETTERS[byte] for byte in token)


def read(token: str) -> bytes:
    """The bytes that a vocabulary's token stands for. Raises KeyError for another letter."""
    return bytes(_BYTES[letter] for letter in token)


def build(model: models.BPE, patterns: Sequence[str], *, is_nfc: bool = False) -> Tokenizer:
    """A tokenizer whose words are what each of the patterns, one after the other, leaves whole."""
    tokenizer = Tokenizer(model)
    if is_nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def of_ranks(ranks: Mapping[bytes, int], special: Mapping[str, int], first: int = 0) -> models.BPE:
    """tiktoken's BPE: the neighbours whose bytes have the lowest rank are joined, and a word that
    is a token itself is not cut. A token's id is its rank, counted from `first`.
    """
    ordered = sorted(ranks, key=lambda token: ranks[token])
    pairs = [(written(left), written(right)) for left, right in merges.of_pieces(ordered, ranks)]
    ids = {written(token): first + rank for token, rank in ranks.items()}
    return models.BPE({**ids, **special}, pairs, ignore_merges=True)
