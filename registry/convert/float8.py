"""Weights of eight bits, decoded when a model is imported: MLX computes with none of them.

A weight has no scale, one for all, one a row, or one for each block (DeepSeek's `weight_scale_inv`,
of 128 x 128). mlx-lm decodes some of these for some architectures, by the name of the scale alone,
and otherwise takes the bytes for numbers from 0 to 255: so all of it is done before it looks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx

from registry.checkpoint import shards
from registry.checkpoint.architectures import architecture_of
from registry.checkpoint.config import Config
from registry.checkpoint.support import quantization_config
from registry.checkpoint.weights import quote, read_header
from registry.errors import NotAModel

_DTYPE = "F8_E4M3"
_SCALES = ("_scale_inv", "_scale")  # after the weight's own name
_SIBLING_SCALE = ".scale"  # or in place of ".weight"
# Scales of activations and of the cache, which are not rounded here.
_NOT_NEEDED = ("input_scale", "activation_scale", "input_scale_ub", "k_scale", "v_scale")
_BLOCK = 128
# These keep the bytes: their `sanitize` puts them in MLX's own mxfp8.
_PACK_THEMSELVES = frozenset({"deepseek_v41", "minimax_m3_vl"})


def float8_names(folder: Path, config: Config) -> frozenset[str]:
    """The tensors of a folder that have to be decoded."""
    if architecture_of(config) in _PACK_THEMSELVES:
        return frozenset()
    headers = [read_header(path) for path in shards.find(folder)]
    return frozenset(t.name for header in headers for t in header.tensors if t.dtype == _DTYPE)


def without_packing(config: Config) -> Config:
    """What tells mlx-lm's `load_model` that nothing is packed any more."""
    changes: Config = {"quantization_config": None}  # where the key is missing, it looks elsewhere
    text_config = config.get("text_config")
    if isinstance(text_config, dict):
        kept = {k: value for k, value in text_config.items() if k != "quantization_config"}
        changes["text_config"] = kept
    return changes


def decoding(base: type[Any], names: frozenset[str], config: Config) -> type[Any]:
    """mlx-lm's class, which decodes these weights before it does anything else with them."""
    block = _block_of(config)

    class Decoding(base):  # type: ignore[misc]
        def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
            decoded = decode(weights, names, block)
            return super().sanitize(decoded) if hasattr(base, "sanitize") else decoded

    return Decoding


def decode(
    weights: Mapping[str, mx.array], names: frozenset[str], block: tuple[int, int]
) -> dict[str, mx.array]:
    """The weights with those of `names` as bfloat16, their scales taken in.

    Raises NotAModel for scales that do not fit their weight.
    """
    left = {name: value for name, value in weights.items() if not name.endswith(_NOT_NEEDED)}
    for name in names & left.keys():
        value = mx.from_fp8(left[name], mx.float32)
        if (scale_name := _scale_of(name, left)) is not None:
            value = value * _spread(_as_float(left.pop(scale_name)), value.shape, block, name)
        left[name] = value.astype(mx.bfloat16)
    return left


def _scale_of(name: str, weights: Mapping[str, mx.array]) -> str | None:
    stem = name.removesuffix(".weight")
    candidates = [name + ending for ending in _SCALES]
    if stem != name:
        candidates.append(stem + _SIBLING_SCALE)
    return next((candidate for candidate in candidates if candidate in weights), None)


def _as_float(scale: mx.array) -> mx.array:
    if scale.dtype == mx.uint8:  # E8M0, an exponent with a bias of 127 and no sign
        return mx.power(mx.array(2.0), scale.astype(mx.float32) - 127.0)
    return scale.astype(mx.float32)


def _spread(scale: mx.array, shape: tuple[int, ...], block: tuple[int, int], name: str) -> mx.array:
    """A scale for each number of a weight, or such that broadcasting makes it one."""
    if scale.size == 1:
        return scale.reshape(())
    if len(shape) < 2:
        raise _misfit(scale, shape, name)
    if scale.shape == shape[:-1]:  # one a row
        return scale[..., None]
    if scale.ndim != len(shape):
        raise _misfit(scale, shape, name)
    rows, columns = shape[-2:]
    if scale.shape[-2:] == (-(-rows // block[0]), -(-columns // block[1])):
        scale = mx.repeat(mx.repeat(scale, block[0], axis=-2), block[1], axis=-1)
        return scale[..., :rows, :columns]
    if all(have in (1, want) for have, want in zip(scale.shape, shape, strict=True)):
        return scale
    raise _misfit(scale, shape, name)


def _misfit(scale: mx.array, shape: tuple[int, ...], name: str) -> NotAModel:
    return NotAModel(
        f"Tensor {quote(name)} of shape {list(shape)} has scales of shape {list(scale.shape)}, "
        "which fit neither its rows nor its blocks."
    )


def _block_of(config: Config) -> tuple[int, int]:
    packing = quantization_config(config) or {}
    match packing.get("weight_block_size") or _structure(packing):
        case [int(rows), int(columns)] if rows > 0 and columns > 0:
            return rows, columns
    return _BLOCK, _BLOCK


def _structure(packing: Config) -> object:
    """The block of compressed-tensors, which can have groups of several; one is for weights."""
    groups = packing.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict) and weights.get("block_structure"):
            return weights["block_structure"]
    return None
