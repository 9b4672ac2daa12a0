"""The page on memory of ARCHITECTURE.md says what the model of memory says."""

from pathlib import Path

import pytest

from registry.checkpoint.model_memory import ModelMemory
from runtime.memory import machine
from runtime.memory.chunk_pass import chunk_pass
from runtime.memory.cost import PROCESS_BYTES
from runtime.memory.kv import logits_bytes
from runtime.memory.layers.cache import cache_shape
from runtime.memory.meter import FULL_SHARE
from runtime.memory.prediction import longest_row, predict

PAGE = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text()
GB = 1 << 30

QWEN = {"model_type": "qwen3", "head_dim": 128, "num_key_value_heads": 8, "num_hidden_layers": 36}
QWEN_4B = QWEN | {"hidden_size": 2560, "intermediate_size": 9728, "num_attention_heads": 32}
QWEN_8B = QWEN | {"hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32}
LLAMA_70B = {
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "num_hidden_layers": 80,
}
# Memory of the Mac, the model in 4 bits, its weights' bytes, its vocabulary.
MACS = [
    (8, "Qwen3-4B", QWEN_4B, 2_280_000_000, 151_936),
    (16, "Qwen3-8B", QWEN_8B, 4_620_000_000, 151_936),
    (64, "Llama-3.3-70B", LLAMA_70B, 39_700_000_000, 128_256),
]


@pytest.mark.parametrize(("size", "name", "config", "weights", "vocab_size"), MACS)
def test_the_worked_examples_are_what_is_computed(
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    name: str,
    config: dict[str, object],
    weights: int,
    vocab_size: int,
) -> None:
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: True)
    working_set = machine.recommended_bytes(size * GB)
    limit = int(working_set * FULL_SHARE)
    whole, per_token = chunk_pass(config, 2)
    rows, shape = logits_bytes(vocab_size), cache_shape(config, 2)
    memory = ModelMemory(weights, shape, rows, PROCESS_BYTES, whole, per_token)
    told = predict(memory, [4000])
    beside = told.activations + told.overhead
    line = (
        f"| {size} GB | {working_set / GB:.1f} | {limit / GB:.1f} | {name} | {weights / GB:.1f} "
        f"| {beside / GB:.2f} | {1000 * shape.token_bytes / GB:.2f} "
        f"| {longest_row(memory, limit):,} tokens |"
    )
    assert line in PAGE, line
