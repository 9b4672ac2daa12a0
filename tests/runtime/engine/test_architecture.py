"""Tests of the windows that mlx-lm leaves out: it is right for as many tokens as one holds."""

from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_map
from mlx_lm.models.cache import RotatingKVCache
from mlx_lm.utils import _get_classes

from runtime.engine import mlx_lm_patches
from runtime.engine.architecture import classes
from runtime.engine.cache import kv_cache
from runtime.engine.probe.probe import probe
from tests.models.zoo.checkpoints import CONFIGS

WINDOW = 12
TOKENS = mx.array([[(7 * i * i + 3) % 300 + 5 for i in range(40)]])
ALL_SLIDE = ["mistral", "ministral3", "mixtral", "phi3", "phimoe", "starcoder2"]
SOME_SLIDE = ["gemma2", "qwen2", "qwen3", "dots1"]


def config_of(model_type: str, num_layers: int, **arguments: Any) -> dict[str, Any]:
    config: dict[str, Any] = CONFIGS["llama" if model_type == "mistral" else model_type] | {
        "model_type": model_type,
        "num_hidden_layers": num_layers,
        "sliding_window": WINDOW,
        "use_sliding_window": True,
        "max_window_layers": num_layers - 1,
    }
    config.pop("layer_types", None)
    return config | arguments


def build(config: dict[str, Any], get_classes: Any = classes) -> Any:
    mlx_lm_patches.apply()
    mx.random.seed(0)
    model_class, arguments = get_classes(dict(config))
    model = model_class(arguments.from_dict(dict(config)))
    model.update(tree_map(lambda value: value * 3 if value.ndim > 1 else value, model.parameters()))
    return model


def difference(found: mx.array, wanted: mx.array) -> float:
    return float(mx.abs(found - wanted).max())


@pytest.mark.parametrize("model_type", ALL_SLIDE + SOME_SLIDE)
def test_a_layer_sees_the_last_tokens_of_a_window(model_type: str) -> None:
    """Positions are relative: what is beyond the window may as well not be there."""
    num_layers = 2 if model_type == "dots1" else 1  # its first layers are of another kind
    config = config_of(model_type, num_layers, max_window_layers=0)
    scale = 2 * WINDOW - 1 if num_layers == 2 else WINDOW  # seen through one layer after the other
    model = build(config)
    wanted = model(TOKENS[:, -scale:])[:, -1]
    assert difference(model(TOKENS)[:, -1], wanted) < 1e-3
    assert difference(build(config, _get_classes)(TOKENS)[:, -1], wanted) > 1e-2


@pytest.mark.parametrize("model_type", SOME_SLIDE)
def test_full_layers_see_all(model_type: str) -> None:
    """The first token reaches the last one through them, and through them only."""
    model, twin = build(config := config_of(model_type, 2)), TOKENS + 0
    twin[:, 0] = 200
    assert difference(model(TOKENS)[:, -1], model(twin)[:, -1]) > 1e-3
    sliding = ["sliding_attention"] * 2
    model = build(config | {"layer_types": sliding})
    assert difference(model(TOKENS)[:, -1], model(twin)[:, -1]) == 0.0


@pytest.mark.parametrize("model_type", ALL_SLIDE + SOME_SLIDE)
def test_a_cache_holds_no_more_than_the_window(model_type: str) -> None:
    """Read in chunks and token by token, the logits are those of one pass."""
    model = build(config_of(model_type, 2))
    wanted, cache = model(TOKENS), kv_cache.make(model)
    pieces = [TOKENS[:, :17], TOKENS[:, 17:33], *(TOKENS[:, i : i + 1] for i in range(33, 40))]
    found = mx.concatenate([model(piece, cache=cache) for piece in pieces], axis=1)
    assert difference(found, wanted) < 1e-3
    assert any(isinstance(layer, RotatingKVCache) for layer in cache)


@pytest.mark.parametrize("model_type", ["mistral", "mixtral", "gemma2", "qwen2"])
def test_the_probe_finds_them_exact_in_company(model_type: str) -> None:
    """It builds the module anew, with windows that a few tokens go past."""
    config = config_of(model_type, 2, sliding_window=100)
    model = build(config)
    model.eval()
    assert probe(model, config, 320, None).exactness.batching == "full"


@pytest.mark.parametrize(
    "change",
    [
        {"sliding_window": None},
        {"max_position_embeddings": WINDOW},
        {"use_sliding_window": False},
        {"model_type": "qwen2", "is_causal": False},
        {"layer_types": ["full_attention"] * 2},
    ],
)
def test_a_model_without_windows_is_mlx_lms_own(change: dict[str, Any]) -> None:
    """Qwen has the size of a window in config.json whether it is used or not."""
    config = config_of("qwen2", 2) | change
    assert classes(dict(config)) == _get_classes(dict(config))
