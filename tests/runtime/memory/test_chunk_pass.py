"""Tests of runtime.memory.chunk_pass: what is told of a pass is what MLX needs for it."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from registry.checkpoint.model import Model
from runtime.engine.cache import kv_cache
from runtime.engine.loader import load
from runtime.memory import cost, machine
from runtime.memory.chunk_pass import CHUNK_TOKENS, chunk_pass
from runtime.memory.prediction import predict
from tests.models import tiny_models

WIDE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 1024}


def folder(kind: str, path: Path) -> Path:
    match kind:
        case "llama":
            return tiny_models.make_llama(path, **WIDE)
        case "gemma3":
            return tiny_models.make_gemma3(path, **WIDE, sliding_window=512)
        case "mamba2":
            return tiny_models.make_mamba2(path, **WIDE, num_heads=16, head_dim=32)
        case _:
            return tiny_models.make_lfm2(path, hidden_size=256, block_dim=256, block_ff_dim=1024)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "gemma3", "mamba2", "lfm2"])
def test_a_pass_needs_no_more_than_is_told(kind: str, tmp_path: Path) -> None:
    """Weights, caches and activations at the peak of a chunk; nor is it told without measure."""
    model = Model(kind, folder(kind, tmp_path))
    loaded = load(model.folder, lambda done, total: None)
    before = mx.get_active_memory() - loaded.info.weight_bytes  # of other tests
    memory = cost.memory_of(model, loaded.info)
    cache = kv_cache.make(loaded.model)
    for chunk in range(1, 5):
        mx.reset_peak_memory()
        loaded.model(mx.ones((1, CHUNK_TOKENS), mx.int32), cache=cache)
        kv_cache.evaluate(cache)
        told = predict(memory, [chunk * CHUNK_TOKENS])
        needed = mx.get_peak_memory() - before
        assert needed <= told.held + told.activations <= 2 * needed


def test_scores_are_written_down_where_no_kernel_is_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Metal only for sizes of heads that its kernel does not know."""
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    }
    wide = config | {"head_dim": 256}
    for is_metal, plain, other in ((False, True, True), (True, False, True)):
        monkeypatch.setattr(machine, "keeps_half_precision", lambda is_metal=is_metal: is_metal)
        assert (chunk_pass(config, 2)[1] > 0, chunk_pass(wide, 2)[1] > 0) == (plain, other)
    assert chunk_pass(config, 2)[0] == 512 * (4 * 14336 + 10 * 4096) * 2
