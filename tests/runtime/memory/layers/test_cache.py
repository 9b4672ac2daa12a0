"""Tests of runtime.memory.layers: what config.json tells of a cache is what an engine finds."""

import copy

import mlx.core as mx
import pytest
from mlx_lm.utils import _get_classes

from registry.checkpoint.cache_shape import CacheShape, Window
from runtime.engine import mlx_lm_patches
from runtime.engine.cache.shape import shape_of
from runtime.memory.kv import row_bytes
from runtime.memory.layers.cache import cache_shape
from tests.models.zoo import faults
from tests.models.zoo.checkpoints import CONFIGS
from tests.models.zoo.shape import Config


@pytest.mark.parametrize("name", [name for name in CONFIGS if faults.is_computable(name)])
def test_every_architecture_is_told_as_it_is_found(name: str) -> None:
    """Never less, and at most a tenth more, at any length."""
    mlx_lm_patches.apply()
    model_class, arguments_class = _get_classes(copy.deepcopy(CONFIGS[name]))
    model = model_class(arguments_class.from_dict(copy.deepcopy(CONFIGS[name])))
    model.set_dtype(mx.float32)
    found, told = shape_of(model), cache_shape(CONFIGS[name], 4)
    for length in (1, 1000, 4000, 16_000):
        measured = row_bytes(found, length)
        assert measured <= row_bytes(told, length) <= 1.1 * measured


REAL: dict[str, tuple[Config, CacheShape]] = {
    "llama-3.1-8b": (
        {
            "model_type": "llama",
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
        CacheShape(32 * 8 * 2 * 128 * 2),
    ),
    # Its config.json says nothing of heads: they are mlx-lm's defaults.
    "gemma-3-4b": (
        {
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text",
                "hidden_size": 2560,
                "num_hidden_layers": 34,
                "sliding_window": 1024,
            },
        },
        CacheShape(5 * 4 * 2 * 256 * 2, (Window(1024, 29 * 4 * 2 * 256 * 2),)),
    ),
    "deepseek-v3": (
        {
            "model_type": "deepseek_v3",
            "hidden_size": 7168,
            "num_hidden_layers": 61,
            "num_attention_heads": 128,
            "kv_lora_rank": 512,
            "qk_rope_head_dim": 64,
        },
        CacheShape(61 * 576 * 2),
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_models_take_what_their_papers_say(name: str) -> None:
    config, expected = REAL[name]
    assert cache_shape(config, 2) == expected


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "llama"},
        {"model_type": "llama", "num_hidden_layers": 1 << 39, "hidden_size": 8},
        {"model_type": "llama", "num_hidden_layers": "many", "hidden_size": []},
        {"model_type": "nemotron_h", "hybrid_override_pattern": [[1]], "num_hidden_layers": 2},
        {"model_type": "deepseek_v41", "kv_source_layer_ids": ["x"], "compress_ratios": [None]},
        {"model_type": "nemotron-nas", "block_configs": [1], "num_attention_heads": None},
        {"model_type": "bailing_hybrid", "layer_group_size": 0, "num_hidden_layers": 3},
    ],
)
def test_a_config_that_says_too_little_is_an_error(config: Config) -> None:
    """One that can be told, and never another; what takes no cache at all is told as that."""
    try:
        assert cache_shape(config, 2) == CacheShape()
    except ValueError as error:
        assert "config.json" in str(error)
