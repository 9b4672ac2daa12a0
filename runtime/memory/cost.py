"""What a model will cost in memory, by what its folder says."""

import math
from pathlib import Path
from typing import Annotated

import msgspec

from registry.checkpoint.config import positive
from registry.checkpoint.encoders.reading import family_of
from registry.checkpoint.kind import ENCODER_TYPES, kind_of
from registry.checkpoint.model import Model
from registry.checkpoint.weights import MAX_DIMS, read_safetensors_json
from registry.errors import BrokenWeights
from runtime import machine
from runtime.engine_messages import EngineSettings

PROCESS_BYTES = 160 << 20  # an engine before its weights: Python, MLX and mlx-lm
_HALF_TYPES = ("BF16", "F16")
_SIZE_KEYS = ("hidden_size", "intermediate_size", "num_attention_heads")  # of language models
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
    float32; on a CPU its scores for a thousand tokens too, which Metal never writes down. What is
    added to each score, if it differs from head to head, is there through all layers.
    """
    if kind_of(model) == "llm":
        return 0
    longest, has_bias = model.context_length, False
    if model.model_type in ENCODER_TYPES:
        family = family_of(model.config)
        size, inner, heads = family.size, family.inner_size, family.num_heads
        longest, has_bias = min(longest, family.max_tokens), family.has_bias
    else:
        size, inner, heads = (positive(model.config.get(name)) or 0 for name in _SIZE_KEYS)
    num_tokens = max(EngineSettings().pack_tokens, longest)
    per_token = heads * min(longest, _SCORED_TOKENS)
    num_scores = per_token * (has_bias + (not machine.keeps_half_precision()))
    return 4 * num_tokens * (4 * (inner or 4 * size) + 10 * size + num_scores)


_Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Shape = Annotated[list[_Size], msgspec.Meta(max_length=MAX_DIMS)]


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """What is looked at of a tensor in a safetensors header.

    `__metadata__` stands there beside them: null, or texts by names that may be these two.
    """

    dtype: str = ""
    shape: _Shape | str = ""


# Typed, as verifying in a job process is not: here what is deep or huge in a header is refused or
# skipped over, never built up, and a hundred thousand tensors take a tenth of a second.
_decoder = msgspec.json.Decoder(dict[str, _Entry | None])


def _float32_bytes(model: Model) -> int:
    return sum(_bytes_as_float32(path) for path in model.folder.glob("*.safetensors"))


def _bytes_as_float32(path: Path) -> int:
    try:
        entries = _decoder.decode(read_safetensors_json(path))
    except BrokenWeights as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is broken: {error}") from None
    entries.pop("__metadata__", None)
    total = path.stat().st_size
    for entry in entries.values():
        if entry is None or isinstance(entry.shape, str):
            raise ValueError(f"{path.name} is broken: a tensor has no shape")
        if entry.dtype in _HALF_TYPES:
            total += 2 * math.prod(entry.shape)
    return total
