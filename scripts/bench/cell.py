"""One cell of the bench's table: how much work of which kind, the same for every server."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

SHORT, LONG = 60, 2000  # tokens of a prompt, about

# Tokens of an answer, by prompt length and streams: enough to settle, few enough to wait for.
_MAX_TOKENS = {SHORT: {1: 160, 4: 128, 16: 96}, LONG: {1: 96, 4: 64, 16: 32}}


@dataclass(frozen=True, slots=True)
class Sampling:
    """A name for the table, and the parameters."""

    name: str
    temperature: float
    top_p: float


GREEDY = Sampling("greedy", 0.0, 1.0)
SAMPLED = Sampling("0.8/0.95", 0.8, 0.95)  # the documentation's own example


@dataclass(frozen=True, slots=True)
class Cell:
    """`num_streams` requests at once, on the model of `vocab_size` tokens (0: a given one)."""

    num_streams: int
    prompt_tokens: int
    sampling: Sampling
    vocab_size: int

    @property
    def max_tokens(self) -> int:
        by_streams = _MAX_TOKENS[self.prompt_tokens]
        return by_streams[max(n for n in by_streams if n <= self.num_streams)]


def cells(streams: Sequence[int], vocab_sizes: Sequence[int], full: bool) -> list[Cell]:
    """All cells if `full`; else long prompts only greedy and with the first vocabulary."""
    kinds = [
        (prompt_tokens, sampling, vocab_size)
        for vocab_size in vocab_sizes
        for prompt_tokens in (SHORT, LONG)
        for sampling in (GREEDY, SAMPLED)
        if full or prompt_tokens == SHORT or (sampling == GREEDY and vocab_size == vocab_sizes[0])
    ]
    return [Cell(number, *kind) for kind in kinds for number in streams]


@lru_cache
def _words(folder: Path) -> list[str]:
    """The words that are one token each, so that a prompt's length is known."""
    vocab = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    words = {token[1:] for token in vocab if token[:1] in ("Ġ", "▁")}
    return sorted(word for word in words if word.isascii() and word.isalpha()) or ["a"]


def prompts(folder: Path, num_prompts: int, num_tokens: int, seed: int) -> list[str]:
    """Prompts that have nothing in common: no server's prompt cache may shorten the work."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(_words(folder), k=num_tokens)) for _ in range(num_prompts)]
