"""Text to tokens, by the model's own tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer

from registry.checkpoint.tokenizer.load import load


class ModelTokenizer(Protocol):
    """The tokenizer of a model folder, used in the text process."""

    def prompt(self, text: str) -> list[int]:
        """A rendered prompt, which holds its special tokens as text already."""
        ...

    def texts(
        self, texts: Sequence[str], query: str | None, max_tokens: int | None
    ) -> tuple[list[list[int]], list[int]]:
        """Raw texts with special tokens, alone or behind a query, cut to `max_tokens`.

        The second list counts the tokens of each pair's first half.
        """
        ...


def tokenizer_of(folder: Path) -> ModelTokenizer:
    """The tokenizer of a model folder. Raises OSError or ValueError when there is none."""
    if (folder / "tokenizer.json").exists():
        return FastTokenizer(load(folder))
    # Only sentencepiece and tiktoken files need transformers, which is slow to import.
    from transformers import AutoTokenizer

    return SlowTokenizer(AutoTokenizer.from_pretrained(folder, trust_remote_code=False))


class FastTokenizer:
    """By tokenizer.json and the tokens that other files add to it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def prompt(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def texts(
        self, texts: Sequence[str], query: str | None, max_tokens: int | None
    ) -> tuple[list[list[int]], list[int]]:
        inputs = list(texts) if query is None else [(query, text) for text in texts]
        try:
            if max_tokens is not None:
                strategy = "longest_first" if query is None else "only_second"
                self._tokenizer.enable_truncation(max_tokens, strategy=strategy)
            # Fast: without the offsets into the text, which nobody needs.
            encodings = self._tokenizer.encode_batch_fast(inputs, add_special_tokens=True)
        finally:
            self._tokenizer.no_truncation()
        rows = [list(encoding.ids) for encoding in encodings]
        return rows, [] if query is None else [_num_first(e.type_ids) for e in encodings]


class SlowTokenizer:
    """By transformers, for sentencepiece and tiktoken files."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def prompt(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def texts(
        self, texts: Sequence[str], query: str | None, max_tokens: int | None
    ) -> tuple[list[list[int]], list[int]]:
        inputs = [list(texts)] if query is None else [[query] * len(texts), list(texts)]
        cut = "longest_first" if query is None else "only_second"
        encoded = self._tokenizer(
            *inputs,
            return_token_type_ids=True,
            truncation=cut if max_tokens is not None else False,
            max_length=max_tokens,
        )
        rows = [list(row) for row in encoded["input_ids"]]
        types = encoded["token_type_ids"]
        return rows, [] if query is None else [_num_first(row) for row in types]


def _num_first(type_ids: Sequence[int]) -> int:
    """How many tokens stand before the first of type 1; all of them, where none is marked."""
    return next((place for place, kind in enumerate(type_ids) if kind == 1), len(type_ids))
