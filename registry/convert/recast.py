"""A safetensors folder to an MLX folder of the bits and dtype that are asked for, by mlx-lm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.convert import MODEL_CONVERSION_DTYPES
from mlx_lm.utils import dequantize_model, quantize_model, save_config

from registry.checkpoint.attention import settled
from registry.convert_messages import Work

from .architecture import load_lazily
from .faults import refused
from .room import check_room
from .shard_writer import ShardWriter


def recast(
    source: Path,
    target: Path,
    work: Work,
    report: Callable[[int, int], None],
    *,
    companions: Path | None = None,
) -> None:
    """Write the weights and config.json of `source` anew into `target`, a tensor at a time.

    The files in `companions`, or those of `source`, say what the model is for. `source` must have
    been verified. Raises NotAModel; ConversionFailed where the disk has no room for all of it.
    """
    with refused("the model"):
        model, config = load_lazily(source, companions=companions)
    has_vision = "vision_tower" in getattr(model, "model", {})
    dtype = work.dtype or _declared_dtype(config)
    if work.bits is not None and "quantization" in config:
        dtype = dtype or _scales_dtype(model)
        _set_dtype(model, "float32")  # scale * q + bias would be rounded twice in a shorter one
        model = dequantize_model(model)
        config = {key: config[key] for key in config if not key.startswith("quantization")}
    _set_dtype(model, dtype)
    if work.bits is not None:
        model, config = quantize_model(model, config, work.group_size, work.bits)
    flat: Any = tree_flatten(model.parameters())
    weights: list[tuple[str, mx.array]] = flat[::-1]
    # Only the writer may refer to a tensor, or all of them would stay in memory.
    del model, flat
    total = sum(value.nbytes for _, value in weights)  # nothing is computed for that
    check_room(target, total)
    writer = ShardWriter(target)
    done = 0
    while weights:
        name, value = weights.pop()
        writer.add(name, value)
        done += value.nbytes
        report(done, total)
        del value
    writer.close()
    # config.json says it all now; mlx-lm would look there for how the source was packed.
    (target / "hf_quant_config.json").unlink(missing_ok=True)
    config = settled(config)
    config.pop("auto_map", None)
    save_config(config, target / "config.json", keep_vision_config=has_vision)


def _declared_dtype(config: dict[str, Any]) -> str | None:
    """The dtype that config.json names; the files may hold a wider one."""
    text_config = config.get("text_config")
    nested = text_config.get("dtype") if isinstance(text_config, dict) else None
    for declared in (config.get("dtype"), config.get("torch_dtype"), nested):
        if declared in MODEL_CONVERSION_DTYPES:
            return str(declared)
    return None


def _scales_dtype(model: Any) -> str | None:
    names = {mx.float16: "float16", mx.bfloat16: "bfloat16"}
    flat: Any = tree_flatten(model.parameters())
    return next((names.get(v.dtype) for name, v in flat if name.endswith(".scales")), None)


def _set_dtype(model: Any, dtype: str | None) -> None:
    if dtype is None:
        return
    may_cast: Callable[[str], bool] = getattr(model, "cast_predicate", lambda _: True)

    def cast(name: str, value: mx.array) -> mx.array:
        if may_cast(name) and mx.issubdtype(value.dtype, mx.floating):
            return value.astype(getattr(mx, dtype))
        return value

    model.update(tree_map_with_path(cast, model.parameters()))
