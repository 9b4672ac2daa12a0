"""How a GGUF scales its rotary embedding, as the `rope_scaling` that mlx-lm reads.

The keys are ggml's docs/gguf.md and llama.cpp's src/llama-arch.cpp; what they mean is taken from
its src/llama-model.cpp and src/llama-context.cpp. A key that would be ignored is refused by name.
"""

import math
from typing import Any

import numpy as np

from registry.checkpoint.weights import quote
from registry.errors import NotAModel

from .file import GgufFile

ROPE_FREQS = "rope_freqs.weight"  # not a weight: a factor for each frequency of rope

_READ = {"dimension_count", "freq_base", "scaling.finetuned", "scaling.type"}
_READ |= {"scaling.factor", "scale_linear", "scaling.original_context_length"}
_YARN = {"scaling.yarn_beta_fast": "beta_fast", "scaling.yarn_beta_slow": "beta_slow"}
# What the other keys have to say, if they are there: then they change nothing.
_NEUTRAL = {
    "scaling.alpha": (0.0,),
    "scaling.attn_factor": (1.0,),
    "scaling.yarn_log_multiplier": (0.0,),
    "scaling.yarn_attn_factor": (1.0, -1.0),
}


def rope_scaling(file: GgufFile) -> dict[str, Any] | None:
    """None if nothing is scaled. Raises NotAModel for what mlx-lm does not do."""
    kind = file.metadata.get(f"{file.architecture}.rope.scaling.type", "linear")
    if kind not in ("none", "linear", "yarn"):
        shown = quote(str(kind))
        raise NotAModel(f"{file.name} scales its rotation by {shown}; linear and yarn are read.")
    _refuse_others(file, is_yarn=kind == "yarn")
    factor = _factor(file) if kind != "none" else 1.0
    if ROPE_FREQS in file.tensors:
        if factor != 1:
            raise NotAModel(f"{file.name} scales its rotation twice, which is not supported.")
        return _llama3(file)
    if kind == "yarn":
        return _yarn(file, factor)
    return None if factor == 1 else {"rope_type": "linear", "factor": factor}


def _refuse_others(file: GgufFile, *, is_yarn: bool) -> None:
    prefix = f"{file.architecture}.rope."
    neutral = _NEUTRAL | {"scaling.yarn_ext_factor": (-1.0, 1.0 if is_yarn else 0.0)}
    for key, value in file.metadata.items():
        name = key.removeprefix(prefix)
        if name == key or name in _READ or name in _YARN:
            continue
        if is_yarn and name in ("scaling.attn_factor", "scaling.yarn_attn_factor"):
            continue  # the one is read, llama.cpp computes the other itself
        if value not in neutral.get(name, ()):
            raise NotAModel(
                f"{file.name} cannot be used: its {quote(key)} is "
                f"{quote(str(value))}, which is not supported."
            )


def _factor(file: GgufFile) -> float:
    """By how much positions are stretched; the older key counts where the newer is missing."""
    for name in ("rope.scaling.factor", "rope.scale_linear"):
        if (value := file.metadata.get(f"{file.architecture}.{name}")) is not None:
            return 1.0 if value == 0 else file.number(name)
    if f"{file.architecture}.rope.scaling.type" in file.metadata:
        file.number("rope.scaling.factor")  # which raises
    return 1.0


def _yarn(file: GgufFile, factor: float) -> dict[str, Any] | None:
    context = file.count("context_length")
    scaling: dict[str, Any] = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": file.count(
            "rope.scaling.original_context_length", context
        ),
    }
    for name, ours in _YARN.items():
        if f"{file.architecture}.rope.{name}" in file.metadata:
            scaling[ours] = file.number(f"rope.{name}")
    # Both multiply what is rotated by 1 + 0.1 ln(factor); llama.cpp by this one too.
    attention = file.number("rope.scaling.attn_factor", 1.0)
    if attention != 1:
        if factor <= 1:
            raise NotAModel(f"{file.name} has a rope.scaling.attn_factor, which is not supported.")
        growth = 0.1 * math.log(factor)
        scaling["mscale"] = (attention * (1 + growth) - 1) / growth
    return scaling


def _llama3(file: GgufFile) -> dict[str, Any]:
    """The settings from which llama.cpp's converter computed a factor for each frequency.

    All Llama 3 models share them but `factor`, which is the largest of those.
    """
    factors = np.concatenate(list(file.blocks(file.tensors[ROPE_FREQS]))).ravel()
    factor = float(factors.max())
    base, dims = file.number("rope.freq_base", 10000.0), file.head_dim
    waves = 2 * math.pi * base ** (np.arange(0, dims, 2, dtype=np.float64) / dims)
    smooth = np.clip((8192 / waves - 1) / (4 - 1), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-3):
        raise NotAModel(f"{file.name} has {ROPE_FREQS} that are not those of a Llama 3.")
    return {
        "rope_type": "llama3",
        "factor": round(factor, 3),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
