"""Tests of runtime.engine.probe: what is wrong in company is found out, and nothing else is."""

import json
import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.nn.layers.quantized import quantize
from mlx.utils import tree_flatten
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import KVCache

from registry.checkpoint.exactness import Exactness, Probed
from runtime.engine import device
from runtime.engine.batch.batch import Batch
from runtime.engine.cache import kv_cache
from runtime.engine.loader import load as load_folder
from runtime.engine.probe import probe as probing
from runtime.engine.probe.probe import probe
from runtime.engine.probe.subject import WINDOW, few_layered, in_float32, short_windowed
from scripts.bench.random_model import write_model
from tests.models.tiny_models import make_tokenizer
from tests.runtime.engine.numbers import load, prompts, row, run

_SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "head_dim": 16,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
    "vocab_size": 512,
}
_NO_CHUNKS = Exactness(chunked=False)
_NO_PADDING = Exactness(padded=False)
_ALONE = Exactness(merged=False, padded=False)
EXPECTED: dict[str, tuple[dict[str, Any], Exactness]] = {
    "llama": ({}, Exactness()),
    "mixtral": ({"num_local_experts": 4, "num_experts_per_tok": 2}, Exactness()),
    "gemma3_text": (
        {"query_pre_attn_scalar": 16, "sliding_window": 512, "sliding_window_pattern": 2},
        Exactness(),
    ),
    "gemma2": ({"query_pre_attn_scalar": 16}, Exactness()),  # by our patch
    "mamba": (
        {"state_size": 8, "conv_kernel": 4, "use_bias": False, "use_conv_bias": True}
        | {"time_step_rank": 8},
        _NO_PADDING,
    ),
    "jamba": (
        {"attn_layer_offset": 1, "attn_layer_period": 2, "expert_layer_offset": 1}
        | {"expert_layer_period": 2, "mamba_d_conv": 4, "mamba_d_state": 8, "mamba_expand": 2}
        | {"num_experts": 2, "num_experts_per_tok": 1, "mamba_dt_rank": 8}
        | {"mamba_proj_bias": False, "mamba_conv_bias": True},
        _NO_PADDING,
    ),
    "gpt_bigcode": (
        {"n_embd": 64, "n_layer": 2, "n_inner": 96, "n_head": 4, "n_positions": 2048}
        | {"layer_norm_epsilon": 1e-5},
        _ALONE,
    ),
    "plamo3": (
        {"window_size": 2048, "sliding_window_pattern": 2, "interleaved_sliding_window": [2048]},
        _NO_CHUNKS,
    ),
}


def make(folder: Path, architecture: str) -> Path:
    """A tiny random checkpoint of an architecture."""
    folder.mkdir(parents=True, exist_ok=True)
    assert make_tokenizer(folder) <= _SIZES["vocab_size"]
    write_model(folder, {"model_type": architecture} | _SIZES | EXPECTED[architecture][0], 0)
    return folder


def ask(model: Any, config: dict[str, Any], known: Probed | None = None) -> Probed:
    return probe(model, config, model.model.embed_tokens.weight.shape[0], known)


@pytest.mark.parametrize("architecture", EXPECTED)
def test_what_is_not_exact_is_found_out_and_not_used(tmp_path: Path, architecture: str) -> None:
    """Each row of a batch equals mlx-lm's own generation, whatever its architecture stands."""
    loaded = load_folder(make(tmp_path, architecture), lambda done, total: None)
    assert loaded.info.probed.exactness == EXPECTED[architecture][1]
    batch = Batch(loaded.model, loaded.info.probed.exactness, prefill_chunk_tokens=64)
    work = prompts([2, 6, 30, 9, 90, 17])
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, 12))
    tokens = run(batch)
    for number, prompt in enumerate(work):
        alone: Any = generate_step(mx.array(prompt), loaded.model, max_tokens=12)
        assert tokens[number] == [int(token) for token, _ in alone]


def test_windows_are_passed_with_a_few_tokens(tmp_path: Path) -> None:
    """A window of thousands would need a prompt of thousands; the model itself keeps its own."""
    folder = make(tmp_path, "gemma3_text")
    config = json.loads((folder / "config.json").read_bytes())
    model: Any = load_folder(folder, lambda done, total: None).model
    subject: Any = short_windowed(model, config)
    sizes = {getattr(layer, "max_size", None) for layer in kv_cache.make(subject)}
    assert sizes == {WINDOW, None}
    assert {getattr(layer, "max_size", None) for layer in kv_cache.make(model)} == {512, None}
    weights: Any = zip(
        tree_flatten(model.parameters()), tree_flatten(subject.parameters()), strict=True
    )
    assert all(own is other for (_, own), (_, other) in weights)


def test_layers_of_a_kind_are_asked_once(tmp_path: Path) -> None:
    """Seven layers, each third with another cache: three have all that there is."""
    config = _SIZES | EXPECTED["gemma3_text"][0] | {"num_hidden_layers": 7}
    config |= {"sliding_window_pattern": 3}
    assert make_tokenizer(tmp_path) <= _SIZES["vocab_size"]
    write_model(tmp_path, {"model_type": "gemma3_text"} | config, 0)
    model: Any = load_folder(tmp_path, lambda done, total: None).model
    subject: Any = few_layered(model)
    assert len(subject.layers) == len(kv_cache.make(subject)) == 3 and len(model.layers) == 7
    weights: Any = tree_flatten(model.parameters())
    shared: Any = tree_flatten(subject.parameters())
    assert all(dict(weights)[name] is own for name, own in shared)
    quantize(model.layers[5], group_size=32, bits=4)  # now the sixth is of a kind of its own
    subject = few_layered(model)
    assert len(subject.layers) == 6


def test_layers_that_all_differ_are_all_asked(tmp_path: Path) -> None:
    model = load(tmp_path, "llama", num_hidden_layers=3)
    assert few_layered(model) is not None
    quantize(model.layers[2], group_size=32, bits=4)
    assert few_layered(model) is None


@pytest.mark.parametrize("architecture", ["gemma3_text", "plamo3"])
def test_a_window_that_nobody_can_shorten_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    """Of an architecture that names it otherwise, say: nothing is exact that was not asked for."""
    folder = make(tmp_path, architecture)
    monkeypatch.setattr("runtime.engine.probe.subject._WINDOWS", frozenset())
    loaded = load_folder(folder, lambda done, total: None)
    assert loaded.info.probed.exactness == Exactness(False, False, False)


def test_a_cache_that_cannot_be_copied_fails_no_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be asked then, so nothing is used."""

    def fails(*_: object) -> None:
        raise TypeError("cannot copy this cache")

    model = load(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_bytes())
    monkeypatch.setattr(KVCache, "__deepcopy__", fails, raising=False)
    assert ask(model, config).exactness == Exactness(False, False, False)


@pytest.mark.parametrize("bits", [None, 4])
def test_half_precision_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int | None
) -> None:
    """On a GPU weights stay as they are, and rounding alone moves logits by more than a fault may:
    so the probe computes in float32, with the same weights."""
    monkeypatch.setattr(device, "compute_dtype", lambda: None)
    model = load(tmp_path, "llama")
    model.set_dtype(mx.bfloat16)
    if bits is not None:
        quantize(model, group_size=32, bits=bits)
    config = json.loads((tmp_path / "config.json").read_bytes())
    assert ask(model, config).exactness == Exactness()
    assert model(mx.array([[1]])).dtype == mx.bfloat16
    assert in_float32(model)(mx.array([[1]])).dtype == mx.float32


def test_an_answer_is_kept_for_its_build_and_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is believed as long as neither mlx-lm nor the machine nor the config is another."""
    model = load(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_bytes())
    first = ask(model, config)
    known = Probed(first.key, _NO_PADDING)
    assert ask(model, config, known) is known
    assert ask(model, config | {"rope_theta": 5e5}, known).exactness == Exactness()
    monkeypatch.setattr(device, "fingerprint", lambda: "another build of mlx-lm")
    assert ask(model, config, known) == Probed(probing._key(config), Exactness())


def test_chance_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token on the verge of two experts may be routed otherwise: other tokens are asked then."""
    model = load(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_bytes())
    once = iter([1.0])
    difference = probing.difference
    monkeypatch.setattr(probing, "difference", lambda *a: next(once, None) or difference(*a))
    assert ask(model, config).exactness == Exactness()
    monkeypatch.setattr(probing, "difference", lambda *a: math.inf)
    assert ask(model, config).exactness == Exactness(False, False, False)


def test_a_model_that_cannot_be_computed_here_is_refused_at_load(tmp_path: Path) -> None:
    """A kernel that only Metal has, say; "ready" and then an error for every request is no load."""
    model = load(tmp_path, "llama")

    class NeedsMetal(type(model)):  # type: ignore[misc]
        def __call__(self, inputs: mx.array, cache: Any = None) -> mx.array:
            raise RuntimeError("[metal_kernel] No Metal back-end.")

    model.__class__ = NeedsMetal
    with pytest.raises(ValueError, match=r"cannot be computed on this machine.*No Metal"):
        probe(model, {"model_type": "llama"}, 512)
