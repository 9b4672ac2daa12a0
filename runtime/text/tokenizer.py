"""Text to tokens, by the model's own tokenizer."""

from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer


class Encoder(Protocol):
    """What encodes a rendered prompt, which holds its special tokens as text already."""

    def __call__(self, text: str) -> list[int]: ...


def encoder_of(folder: Path) -> Encoder:
    """The encoder of a model folder. Raises OSError or ValueError when there is none."""
    if (path := folder / "tokenizer.json").exists():
        fast = Tokenizer.from_file(str(path))
        fast.no_truncation()
        fast.no_padding()

        def encode(text: str) -> list[int]:
            return list(fast.encode(text, add_special_tokens=False).ids)

        return encode
    # Only sentencepiece and tiktoken files need transformers, which is slow to import.
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def encode_slowly(text: str) -> list[int]:
        return list(slow.encode(text, add_special_tokens=False))

    return encode_slowly
