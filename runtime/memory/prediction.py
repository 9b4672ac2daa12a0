"""What a model and its rows will take, before they do."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.checkpoint.model_memory import ModelMemory

from .chunk_pass import CHUNK_TOKENS
from .kv import chunk_bytes, group_bytes


@dataclass(frozen=True, slots=True)
class Prediction:
    """In bytes, as the machine will hold them."""

    weights: int
    cache: int  # of the rows: keys, values and states, and the little that they have besides
    activations: int  # at the peak of a pass
    overhead: int  # the process itself

    @property
    def held(self) -> int:
        """What MLX counts as active between two passes."""
        return self.weights + self.cache

    @property
    def total(self) -> int:
        """What the engine takes at its peak."""
        return self.held + self.activations + self.overhead


def predict(memory: ModelMemory, lengths: Sequence[int] = ()) -> Prediction:
    """Of a model with rows of these lengths, prompt and answer together, that decode as one group.

    Rows far apart in length decode in several groups: add up what `kv.group_bytes` says of each.
    """
    activations = pass_bytes(memory, max(lengths)) if lengths else 0
    cache = group_bytes(memory.cache, lengths) + len(lengths) * memory.row_bytes
    return Prediction(memory.weight_bytes, cache, activations, memory.process_bytes)


def pass_bytes(memory: ModelMemory, num_tokens: int) -> int:
    """What one pass over a chunk takes at the end of so many tokens, beside weights and caches."""
    window = chunk_bytes(memory.cache, min(CHUNK_TOKENS, num_tokens))
    return window + memory.pass_bytes + num_tokens * memory.pass_token_bytes


def room_bytes(limit: int, in_use: int, reserved: int) -> int:
    """What is left for more; below nothing where too much was promised."""
    return limit - in_use - reserved


def longest_row(memory: ModelMemory, available_bytes: int) -> int:
    """How many tokens of one row fit beside the weights; 0 if none do.

    Of a model whose cache does not grow, a number without meaning beyond its context.
    """
    low, high = 0, 1 << 32
    while low < high:
        middle = (low + high + 1) // 2
        if predict(memory, [middle]).total <= available_bytes:
            low = middle
        else:
            high = middle - 1
    return low
