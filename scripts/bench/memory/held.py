"""What a model and one row were said to take, and take: `python -m scripts.bench.memory.held`.

The arguments are a folder and lengths. Of MLX's active memory, in an engine's own batch.
"""

import sys
from pathlib import Path

import msgspec

from registry.checkpoint.model import Model
from runtime.engine.batch.batch import Batch
from runtime.engine.loader import load
from runtime.memory.cost import memory_of, told_memory
from runtime.memory.prediction import predict
from scripts.bench.memory.hit import random_tokens, row_of

# isort: split
import mlx.core as mx


class Held(msgspec.Struct, frozen=True):
    """In bytes: by the folder's files alone, as the engine found the model to be, and measured."""

    num_tokens: int
    told: int
    found: int
    active: int


def main() -> None:
    folder = Path(sys.argv[1])
    model = Model(folder.name, folder)
    loaded = load(folder, lambda done, total: None)
    for num_tokens in map(int, sys.argv[2:]):
        batch = Batch(loaded.model, loaded.info.probed.exactness)
        row = row_of(loaded, 0, random_tokens(loaded, num_tokens - 1), 4)
        batch.add(row)
        while row.first_token_at is None:
            batch.step()
        mx.clear_cache()
        active = mx.get_active_memory()
        told, found = (
            predict(memory, [num_tokens]).held
            for memory in (told_memory(model), memory_of(model, loaded.info))
        )
        print(msgspec.json.encode(Held(num_tokens, told, found, active)).decode(), flush=True)
        batch.remove(0)


if __name__ == "__main__":
    main()
