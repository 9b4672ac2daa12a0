"""What going on from a kept prefix takes in memory: `python -m scripts.bench.memory.hit FOLDER N`.

Measured in an engine's own batch, from the prompt's coming to its first token, so without the
passes over chunks that a longer rest of a prompt would take.
"""

import random
import sys
from pathlib import Path

import msgspec

from runtime.decoding.decoder import Decoder
from runtime.engine.answer.follower import Follower
from runtime.engine.answer.reader import AnswerReader
from runtime.engine.batch.batch import Batch
from runtime.engine.batch.row import Row
from runtime.engine.cache.padding import ALLOCATION_STEP
from runtime.engine.loader import LoadedModel, load
from runtime.requests import SamplingParams

# isort: split
import mlx.core as mx

_BUDGET = 4 << 30
_DRAWN = 8


class Hit(msgspec.Struct, frozen=True):
    """In bytes."""

    entry: int  # what is kept
    num_layers: int
    rise: int  # of MLX's peak, above what was active before the prompt came
    rise_when_growing: int  # until an answer has made the cache grow, its own tokens included


def row_of(loaded: LoadedModel, number: int, tokens: list[int], max_tokens: int) -> Row:
    """A greedy row that nothing but its length ends."""
    sampling = SamplingParams(temperature=0, max_tokens=max_tokens, seed=0)
    reader = AnswerReader(Decoder(loaded.tokenizer).stream(""))
    return Row(number, tokens, sampling, Follower(reader, (), max_tokens))


def random_tokens(loaded: LoadedModel, count: int) -> list[int]:
    draw = random.Random(count)
    return [draw.randrange(3, loaded.info.vocab_size) for _ in range(count)]


def main() -> None:
    loaded = load(Path(sys.argv[1]), lambda done, total: None)
    batch = Batch(loaded.model, loaded.info.probed.exactness, prefix_cache_bytes=_BUDGET)
    first = row_of(loaded, 0, random_tokens(loaded, int(sys.argv[2])), _DRAWN)
    batch.add(first)
    while batch.num_rows:
        batch.step()
    entry = batch.reuse.cache.num_bytes
    second = row_of(loaded, 1, [*first.tokens, *first.drawn, 5], ALLOCATION_STEP + 2)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    batch.add(second)
    while second.first_token_at is None:
        batch.step()
    assert second.num_cached == len(first.tokens) + _DRAWN - 1, "nothing was reused"
    rise = mx.get_peak_memory() - before
    while len(second.drawn) <= ALLOCATION_STEP:
        batch.step()
    grown = mx.get_peak_memory() - before
    hit = Hit(entry, len(loaded.model.layers), rise, grown)
    print(msgspec.json.encode(hit).decode())


if __name__ == "__main__":
    main()
