"""Tiny random checkpoints of every architecture that mlx-lm has, written where a test needs one."""

import copy
import json
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes

from scripts.bench.random_model import EOS_TOKEN_ID, made_up_words, write_tokenizer

from . import dense, latent, mixture, recurrent, windowed, wrapped
from .shape import VOCAB_SIZE, Config

CONFIGS: dict[str, Config] = {
    **dense.CONFIGS,
    **mixture.CONFIGS,
    **latent.CONFIGS,
    **windowed.CONFIGS,
    **recurrent.CONFIGS,
    **wrapped.CONFIGS,
}

# Modules of mlx-lm that the zoo has no checkpoint of, and why.
MISSING = {"olmo": "mlx-lm asks for ai2-olmo, which brings torch, and ends the process without it"}

_OUTPUTS = ("embed_tokens.weight", "embeddings.weight", "lm_head.weight")


def make(name: str, folder: Path) -> Path:
    """Write a checkpoint of `CONFIGS` in float32, the same at every call. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    num_tokens = write_tokenizer(folder, made_up_words(3 * VOCAB_SIZE), VOCAB_SIZE)
    assert num_tokens == VOCAB_SIZE
    config = copy.deepcopy(CONFIGS[name])
    mx.random.seed(0)
    model_class, arguments_class = _get_classes(config)
    model = model_class(arguments_class.from_dict(config))
    parameters: list[tuple[str, mx.array]] = tree_flatten(model.parameters())  # type: ignore[assignment]
    weights = {key: _varied(key, value) for key, value in parameters}
    for key, value in weights.items():
        if key.endswith(_OUTPUTS) and value.ndim == 2:
            # Logits that are never the highest: an answer has any length, and text throughout.
            value[EOS_TOKEN_ID] *= 0.01
            value[VOCAB_SIZE:] *= 0.01
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(CONFIGS[name]))
    return folder


def _varied(key: str, value: mx.array) -> mx.array:
    """The parameter, spread so that it matters: an error anywhere shows in the logits.

    Wider weights also make near-ties rare, so that a greedy choice is robust to rounding.
    """
    if value.dtype == mx.uint32:  # packed
        return mx.random.randint(0, 2**31 - 1, value.shape).astype(mx.uint32)
    if not mx.issubdtype(value.dtype, mx.floating) or key.endswith(".signs"):
        return value
    value = value.astype(mx.float32)
    if value.size > 1 and mx.all(value == value.flatten()[0]).item():  # a constant, as of norms
        return value + 0.1 * mx.random.normal(value.shape)
    return value * 3 if value.ndim > 1 else value
