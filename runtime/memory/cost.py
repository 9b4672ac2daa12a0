"""What a model will cost in memory, by what its folder says."""

import math
from typing import Annotated

import msgspec

from registry.checkpoint.kind import kind_of
from registry.checkpoint.model import Model
from runtime import machine
from runtime.engine_messages import EngineSettings

PROCESS_BYTES = 160 << 20  # an engine before its weights: Python, MLX and mlx-lm
_MAX_HEADER_BYTES = 16 << 20  # of one shard; real ones stay under a tenth of it
_HALF_TYPES = ("BF16", "F16")
_PASS_KEYS = (
    ("hidden_size", "n_embd"),
    ("intermediate_size", "n_inner"),
    ("num_attention_heads", "n_head"),
)
_SCORED_TOKENS = 1024  # `engine.encoders.attention` looks from so many at once


def load_bytes(model: Model) -> int:
    """What loading the model will take, weights as the engine holds them.

    Raises ValueError or OSError when a weight file cannot be read.
    """
    weights = model.weight_bytes if machine.keeps_half_precision() else _float32_bytes(model)
    return weights + PROCESS_BYTES + _pass_bytes(model)


def _pass_bytes(model: Model) -> int:
    """What an encoder's largest forward pass takes beside the weights, about: 0 for a chat model.

    Measured, a layer holds of each token four times its inner size and ten times its own, in
    float32; on a CPU its scores for a thousand tokens too, which Metal never writes down.
    """
    if kind_of(model) == "llm":
        return 0
    size, inner, heads = (
        next((n for name in names if isinstance(n := model.config.get(name), int)), 0)
        for names in _PASS_KEYS
    )
    num_tokens = max(EngineSettings().pack_tokens, model.context_length)
    num_scores = (
        0 if machine.keeps_half_precision() else heads * min(model.context_length, _SCORED_TOKENS)
    )
    return 4 * num_tokens * (4 * (inner or 4 * size) + 10 * size + num_scores)


class _Tensor(msgspec.Struct):
    """What is looked at of a tensor in a safetensors header; `__metadata__` has neither."""

    dtype: str = ""
    shape: list[Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]] = []


def _float32_bytes(model: Model) -> int:
    total = 0
    for path in model.folder.glob("*.safetensors"):
        if not path.is_file():
            raise ValueError(f"{path.name} is no file")
        total += path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _MAX_HEADER_BYTES:
                raise ValueError(f"{path.name}: a header of {length} bytes; the file is damaged")
            # Typed: a header made to be deep or huge is refused or skipped over, never built up.
            header = msgspec.json.decode(file.read(length), type=dict[str, _Tensor])
        halves = (t for t in header.values() if t.dtype in _HALF_TYPES)
        total += sum(2 * math.prod(tensor.shape) for tensor in halves)
    return total
