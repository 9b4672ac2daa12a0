"""Tests of runtime.memory.forward_pass: what it counts, and what MLX says was taken."""

import gc
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.qwen2 import Model as Qwen2
from mlx_lm.models.qwen2 import ModelArgs

from registry.checkpoint.attention import sight_of
from registry.checkpoint.model import Model
from runtime.engine.encoders import attention, decoder
from runtime.engine.encoders.attention import Pack
from runtime.engine.encoders.decoder import Decoder
from runtime.memory import forward_pass, machine
from runtime.memory.forward_pass import pass_bytes
from tests.models.tiny_encoders import write_pooling

SIZES = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4}
# Of gte-Qwen2-7B-instruct and Qwen3-Embedding-8B.
GTE = {
    "model_type": "qwen2",
    "is_causal": False,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 131072,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "torch_dtype": "float32",
}
QWEN3 = {
    "model_type": "qwen3",
    "head_dim": 128,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
}


def embedder(folder: Path, config: dict[str, Any], max_tokens: int | None = None) -> Model:
    write_pooling(folder, "pooling_mode_mean_tokens")
    (folder / "config.json").write_text(json.dumps(config))
    if max_tokens is not None:
        said = json.dumps({"max_seq_length": max_tokens})
        (folder / "sentence_bert_config.json").write_text(said)
    return Model("tiny", folder)


def test_a_chat_model_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    assert pass_bytes(Model("tiny", tmp_path)) == 0


@pytest.mark.parametrize("keeps_half", [True, False])
@pytest.mark.parametrize(
    ("longest", "limit", "num_tokens"), [(512, 512, 4096), (8192, 8192, 8192), (8192, 512, 4096)]
)
def test_an_encoders_is_that_of_a_full_pack_or_its_longest_text(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keeps_half: bool,
    longest: int,
    limit: int,
    num_tokens: int,
) -> None:
    """By its sizes, and by the length that sentence-transformers cuts texts to."""
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: keeps_half)
    config = {"model_type": "bert", "max_position_embeddings": longest} | SIZES
    num_scores = 0 if keeps_half else 4 * min(limit, 1024)
    counted = pass_bytes(embedder(tmp_path, config, limit))
    assert counted == 4 * num_tokens * (4 * 256 + 10 * 64 + num_scores)


@pytest.mark.parametrize(
    ("config", "num_scores"),
    [
        ({"model_type": "distilbert", "dim": 64, "hidden_dim": 256, "n_heads": 4}, 0),
        ({"model_type": "mpnet", "max_position_embeddings": 514}, 4 * 512),
    ],
)
def test_sizes_have_other_names_in_other_families(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], num_scores: int
) -> None:
    """MPNet's heads add to each score, and what they add is held."""
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: True)
    counted = pass_bytes(embedder(tmp_path, SIZES | {"max_position_embeddings": 512} | config))
    assert counted == 4 * 4096 * (4 * 256 + 10 * 64 + num_scores)


@pytest.mark.parametrize(
    ("config", "max_tokens", "least", "most"),
    [
        (GTE, 8192, 1.8e9, 2.6e9),  # all 131,072 tokens at once would be 58.5 GB
        (QWEN3, None, 6.04e9, 8e9),  # keys and values of 40,960 tokens in 36 layers alone are 6.04
        (QWEN3 | {"torch_dtype": "float32"}, None, 12.08e9, 16e9),
        (QWEN3, 512, 0.7e9, 1.5e9),
    ],
    ids=["both ways", "back", "back in float32", "short texts"],
)
def test_real_language_models_fit_a_mac(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    max_tokens: int | None,
    least: float,
    most: float,
) -> None:
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: True)
    assert least < pass_bytes(embedder(tmp_path, config, max_tokens)) < most


def test_the_parts_are_those_of_the_engine() -> None:
    assert forward_pass.CHUNK_TOKENS == decoder._CHUNK_TOKENS
    assert forward_pass.QUERY_CHUNK == decoder._QUERY_CHUNK == attention._QUERY_CHUNK


@pytest.mark.parametrize(
    ("is_causal", "num_layers", "longest"),
    [(True, 12, 1024), (False, 2, 1024), (True, 2, 512), (False, 2, 64)],
    ids=["back, in parts", "both ways, in parts", "back", "both ways, short texts"],
)
def test_what_a_decoder_takes_is_about_what_is_counted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_causal: bool,
    num_layers: int,
    longest: int,
) -> None:
    """Of a full pack of the longest texts, as MLX counts its memory; all limits an eighth."""
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: False)
    for room in (decoder, forward_pass):
        for name, value in (("CHUNK_TOKENS", 256), ("QUERY_CHUNK", 128)):
            monkeypatch.setattr(room, name if room is forward_pass else f"_{name}", value)
    monkeypatch.setattr(forward_pass, "EngineSettings", lambda: _Settings)
    config = {
        "model_type": "qwen2",
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "num_hidden_layers": num_layers,
        "vocab_size": 32,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": longest,
        "is_causal": is_causal,
    }
    counted = pass_bytes(embedder(tmp_path, config))
    module = Qwen2(ModelArgs.from_dict(config))
    mx.eval(module.parameters())
    taken = _taken(Decoder(module, 32, sight_of(config)), max(1, 512 // longest), longest)
    assert taken < 1.1 * counted
    assert counted < 2.5 * taken


class _Settings:
    pack_tokens = 512


def _taken(subject: Decoder, rows: int, length: int) -> int:
    """Bytes at the peak of a pass, beside what was there before."""
    nothing = mx.zeros((rows, length), mx.int32)
    pack = Pack(nothing, nothing, mx.array([length] * rows))
    mx.eval(nothing, pack.lengths)
    gc.collect()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    for hidden in subject.states(pack):
        mx.eval(hidden)
    return mx.get_peak_memory() - before
