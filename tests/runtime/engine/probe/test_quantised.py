"""Tests of runtime.engine.probe.quantised: which models' caches can be quantised, and why not."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from registry.checkpoint.exactness import Exactness
from runtime.engine.batch.batch import Batch
from runtime.engine.cache import kv_cache
from runtime.engine.cache.quantized import QuantizedCache
from runtime.engine.loader import KvBitsRefused
from runtime.engine.loader import load as load_folder
from runtime.engine.probe.quantised import refusal
from scripts.bench.random_model import write_model
from tests.models.tiny_models import make_tokenizer
from tests.runtime.engine.numbers import load, prompts, row, run

_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "head_dim": 32,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
    "vocab_size": 512,
}


def make(folder: Path, model_type: str, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    assert make_tokenizer(folder) <= _SIZES["vocab_size"]
    write_model(folder, {"model_type": model_type} | _SIZES | config, 0)
    return folder


def quiet(done: int, total: int) -> None:
    """Progress that nobody reads."""


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("model_type", "config"),
    [
        ("llama", {}),
        ("qwen3", {}),
        ("mixtral", {"hidden_size": 128, "num_local_experts": 4, "num_experts_per_tok": 2}),
    ],
)
def test_rows_are_as_each_alone(
    tmp_path: Path, model_type: str, config: dict[str, Any], bits: Any
) -> None:
    """Some read together, some in pieces; they join at their own times and leave."""
    loaded = load_folder(make(tmp_path, model_type, **config), quiet, kv_bits=bits)
    assert loaded.info.kv_bits == bits
    assert all(isinstance(layer, QuantizedCache) for layer in kv_cache.make(loaded.model))
    work = prompts([2, 6, 30, 9, 90, 17])

    def answers(numbers: range) -> dict[int, list[int]]:
        exactness = loaded.info.probed.exactness
        batch = Batch(loaded.model, exactness, prefill_chunk_tokens=64, stall_limit_s=60)
        for number in numbers:
            batch.add(row(number, work[number], 8 + 2 * number))
        return run(batch)

    alone = [answers(range(number, number + 1)) for number in range(len(work))]
    assert answers(range(len(work))) == {n: answer[n] for n, answer in enumerate(alone)}


@pytest.mark.parametrize(
    ("model_type", "config", "reason"),
    [
        ("gemma2", {"query_pre_attn_scalar": 32}, "its attention cannot read packed"),
        ("llama", {"head_dim": 16}, "its heads have 16 numbers, which are no multiple of 32"),
        (
            "gemma3_text",
            {"query_pre_attn_scalar": 32, "sliding_window": 12, "sliding_window_pattern": 3},
            r"layers 0-1 of 3 keep something else than all keys and values \(RotatingKVCache\)",
        ),
        (
            "mamba2",
            {"num_heads": 8, "head_dim": 16, "state_size": 16, "layer_norm_epsilon": 1e-5}
            | {"conv_kernel": 4, "n_groups": 1, "use_bias": False, "use_conv_bias": True}
            | {"time_step_limit": [0.0, 1e9], "time_step_rank": "auto", "intermediate_size": 128},
            r"all layers of 3 keep something else than all keys and values \(ArraysCache\)",
        ),
    ],
)
def test_what_cannot_be_quantised_is_refused(
    tmp_path: Path, model_type: str, config: dict[str, Any], reason: str
) -> None:
    """Where a person wishes it; a default is for those that can."""
    folder = make(tmp_path, model_type, **config)
    with pytest.raises(KvBitsRefused, match=f"cannot be held in 8 bits: {reason}"):
        load_folder(folder, quiet, kv_bits=8)
    loaded = load_folder(folder, quiet, default_kv_bits=4)
    assert loaded.info.kv_bits == 16
    assert not any(isinstance(layer, QuantizedCache) for layer in kv_cache.make(loaded.model))


def test_a_wish_beats_the_default(tmp_path: Path) -> None:
    folder = make(tmp_path, "llama")
    assert load_folder(folder, quiet, default_kv_bits=8).info.kv_bits == 8
    assert load_folder(folder, quiet, kv_bits=4, default_kv_bits=8).info.kv_bits == 4
    assert load_folder(folder, quiet, kv_bits=16, default_kv_bits=8).info.kv_bits == 16


def test_an_attention_that_computes_something_else_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that takes scales for keys would: it fails without an error."""
    model = load(tmp_path, "llama", head_dim=32)
    assert refusal(model, Exactness(), 400) is None
    fetch = QuantizedCache.update_and_fetch

    def doubled(self: QuantizedCache, keys: mx.array, values: mx.array) -> Any:
        return fetch(self, keys, 2 * values)

    monkeypatch.setattr(QuantizedCache, "update_and_fetch", doubled)
    assert refusal(model, Exactness(), 400) == (
        "its attention computes something else with packed keys and values"
    )
