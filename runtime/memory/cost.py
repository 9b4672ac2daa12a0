"""What a model will cost in memory, by what its folder says."""

import logging
import math
from pathlib import Path
from typing import Annotated

import msgspec

from registry.checkpoint.kind import kind_of
from registry.checkpoint.model import Model
from registry.checkpoint.model_memory import ModelMemory
from registry.checkpoint.weights import MAX_DIMS, read_safetensors_json
from registry.errors import BrokenWeights
from runtime.engine_messages import ModelInfo

from . import machine
from .chunk_pass import chunk_pass
from .forward_pass import number_bytes, pass_bytes
from .kv import logits_bytes
from .layers.cache import cache_shape

logger = logging.getLogger(__name__)

PROCESS_BYTES = 160 << 20  # an engine before its weights: Python, MLX and mlx-lm
_HALF_TYPES = ("BF16", "F16")


def load_bytes(model: Model) -> int:
    """What loading the model will take, weights as the engine holds them.

    Raises ValueError or OSError when a weight file cannot be read.
    """
    return _weight_bytes(model) + PROCESS_BYTES + pass_bytes(model)


def told_memory(model: Model) -> ModelMemory:
    """What a model takes, by its files alone. Raises as `load_bytes` does.

    Where config.json says too little of a language model, its rows count for nothing.
    """
    memory = ModelMemory(_weight_bytes(model), process_bytes=PROCESS_BYTES)
    if kind_of(model) != "llm":
        return msgspec.structs.replace(memory, pass_bytes=pass_bytes(model))
    try:
        size = number_bytes(model.config)
        shape = cache_shape(model.config, size)
        whole, per_token = chunk_pass(model.config, size)
    except ValueError as error:
        logger.info("%s: %s", model.id, error)
        return memory
    return msgspec.structs.replace(
        memory,
        cache=shape,
        row_bytes=logits_bytes(model.vocab_size or 0),
        pass_bytes=whole,
        pass_token_bytes=per_token,
    )


def memory_of(
    model: Model, info: ModelInfo | None = None, known: ModelMemory | None = None
) -> ModelMemory:
    """What a model takes: as the engine found that has it in memory, else as one found before,
    else as its files tell. Raises ValueError or OSError as `load_bytes` does.
    """
    memory = known or model.memory or told_memory(model)
    if info is None:
        return memory
    return msgspec.structs.replace(
        memory,
        weight_bytes=info.weight_bytes,
        cache=info.cache_shape,
        row_bytes=logits_bytes(info.vocab_size) if info.kind == "llm" else 0,
        # As it stood when nothing had run yet: it grows to the usual size with the first answers.
        process_bytes=max(info.process_bytes, PROCESS_BYTES),
    )


def _weight_bytes(model: Model) -> int:
    return model.weight_bytes if machine.keeps_half_precision() else _float32_bytes(model)


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
