"""Tests of runtime.engine.encoders: each architecture against an independent numpy forward."""

import json
import random
from pathlib import Path
from typing import Any

import mlx.core as mx
import msgspec
import numpy as np
import pytest
from mlx.utils import tree_flatten
from safetensors.numpy import load_file, save_file

from registry.checkpoint.encoders import FAMILIES
from registry.checkpoint.encoders.family import ACTIVATIONS
from registry.checkpoint.model import Model
from runtime.engine.encoders import attention, network_of
from runtime.engine.encoders.batch import EncodeBatch
from runtime.engine.encoders.encoder import Encoder
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed
from tests.models import random_encoders, reference_encoders
from tests.models.tiny_encoders import write_dense, write_modules, write_pooling

ENCODERS = sorted(FAMILIES)
EMBEDDERS = [*ENCODERS, "qwen3"]
RERANKERS = [name for name in ENCODERS if FAMILIES[name].can_rank]
LENGTHS = [1, 2, 7, 31, 64, 100]


def load(folder: Path) -> Encoder:
    return load_encoder(Model("tiny", folder), lambda done, total: None)


def encode(
    encoder: Encoder,
    inputs: list[list[int]],
    first_lengths: list[int] | None = None,
    dimensions: int | None = None,
) -> Any:
    """All inputs in one pass; their vectors, in the inputs' order."""
    batch = EncodeBatch()
    batch.add(Embed(1, inputs, first_lengths or [], dimensions))
    pack = batch.next_pack(10**9)
    while more := batch.next_pack(10**9):  # those that would have been padded too much
        pack += more
    rows = sorted(zip([entry.index for entry in pack], encoder.encode(pack), strict=True))
    return np.stack([np.frombuffer(row, "<f4") for _, row in rows])


def texts(lengths: list[int], seed: int = 1) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(5, 100) for _ in range(length)] for length in lengths]


@pytest.mark.parametrize("architecture", EMBEDDERS)
def test_a_padded_batch_equals_the_reference(tmp_path: Path, architecture: str) -> None:
    """Very different lengths in one pass: each vector is what its text gives by itself."""
    folder = random_encoders.make(tmp_path, architecture)
    inputs = texts(LENGTHS)
    vectors = encode(load(folder), inputs)
    for tokens, vector in zip(inputs, vectors, strict=True):
        expected = reference_encoders.unit(
            reference_encoders.hidden_states(folder, tokens).mean(axis=0)
        )
        np.testing.assert_allclose(vector, expected, atol=2e-5)


@pytest.mark.parametrize("architecture", EMBEDDERS)
def test_batched_equals_single(tmp_path: Path, architecture: str) -> None:
    """Neither company nor padding changes a vector."""
    encoder = load(random_encoders.make(tmp_path, architecture))
    inputs = texts(LENGTHS)
    alone = np.concatenate([encode(encoder, [tokens]) for tokens in inputs])
    np.testing.assert_allclose(encode(encoder, inputs), alone, atol=1e-5)


@pytest.mark.parametrize("architecture", RERANKERS)
def test_scores_equal_the_reference(tmp_path: Path, architecture: str) -> None:
    """Pairs of different length, whose halves are told apart where the model does so."""
    folder = random_encoders.make(tmp_path, architecture, is_reranker=True)
    encoder = load(folder)
    assert encoder.info.kind == "rerank" and encoder.info.num_dimensions == 1
    inputs, firsts = texts([9, 30, 64]), [4, 8, 20]
    scores = encode(encoder, inputs, firsts)[:, 0]
    for tokens, first, score in zip(inputs, firsts, scores, strict=True):
        segments = [int(place >= first) for place in range(len(tokens))]
        if architecture != "bert":
            segments = [0] * len(tokens)
        expected = reference_encoders.score(folder, tokens, segments)
        assert score == pytest.approx(expected, abs=1e-5)


def test_what_the_loaded_model_tells(tmp_path: Path) -> None:
    """Kind, dimensions and limit are there for lists; positions limit a text of XLM-RoBERTa."""
    info = load(random_encoders.make(tmp_path, "xlm-roberta")).info
    assert (info.kind, info.num_dimensions, info.max_input_tokens) == ("embed", 32, 128)
    assert info.weight_bytes == 4 * info.num_params


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("pooling_mode_cls_token", lambda h: h[0]),
        ("pooling_mode_lasttoken", lambda h: h[-1]),
        ("pooling_mode_max_tokens", lambda h: h.max(0)),
        ("pooling_mode_mean_sqrt_len_tokens", lambda h: h.sum(0) / np.sqrt(len(h))),
        ("pooling_mode_weightedmean_tokens", lambda h: np.average(h, 0, 1 + np.arange(len(h)))),
    ],
)
def test_pooling_modes(tmp_path: Path, mode: str, expected: Any) -> None:
    """Every way of sentence-transformers to make one vector of many; none sees padding."""
    folder = random_encoders.make(tmp_path, "qwen3")
    write_pooling(folder, mode)
    inputs = texts([1, 5, 40])
    for tokens, vector in zip(inputs, encode(load(folder), inputs), strict=True):
        hidden = reference_encoders.hidden_states(folder, tokens)
        np.testing.assert_allclose(vector, reference_encoders.unit(expected(hidden)), atol=2e-5)


def test_vectors_stay_as_long_as_they_are_without_a_normalize_module(tmp_path: Path) -> None:
    """And are normalised once they are cut."""
    folder = random_encoders.make(tmp_path, "nomic_bert")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    encoder, inputs = load(folder), texts([12])
    hidden = reference_encoders.hidden_states(folder, inputs[0]).mean(0)
    np.testing.assert_allclose(encode(encoder, inputs)[0], hidden, atol=1e-4)
    cut = encode(encoder, inputs, dimensions=8)[0]
    np.testing.assert_allclose(cut, reference_encoders.unit(hidden[:8]), atol=2e-5)


@pytest.mark.parametrize(
    ("config", "compute"),
    [
        ({}, lambda x, w: np.tanh(w["linear.weight"] @ x + w["linear.bias"])),
        (
            {"bias": False, "activation_function": "torch.nn.modules.linear.Identity"},
            lambda x, w: w["linear.weight"] @ x,
        ),
        (
            {"use_residual": True},
            lambda x, w: (
                np.tanh(w["linear.weight"] @ x + w["linear.bias"]) + w["residual.weight"] @ x
            ),
        ),
    ],
)
def test_dense_modules(tmp_path: Path, config: dict[str, Any], compute: Any) -> None:
    """As LaBSE has one, between two ways to pool and the normalisation; and its other kinds."""
    folder = random_encoders.make(tmp_path, "bert")
    write_pooling(folder, "pooling_mode_mean_tokens", "pooling_mode_max_tokens")
    write_modules(folder, "Pooling", "Dense", "Normalize")
    write_dense(folder / "2_Dense", 64, 24, **config)
    weights = load_file(folder / "2_Dense/model.safetensors")
    encoder, inputs = load(folder), texts([1, 5, 40])
    assert encoder.info.num_dimensions == 24
    assert encoder.info.weight_bytes == 4 * encoder.info.num_params
    for tokens, vector in zip(inputs, encode(encoder, inputs), strict=True):
        hidden = reference_encoders.hidden_states(folder, tokens)
        pooled = np.concatenate([hidden.max(0), hidden.mean(0)])
        expected = reference_encoders.unit(compute(pooled, weights))
        np.testing.assert_allclose(vector, expected, atol=2e-5)


def test_a_long_input_is_computed_in_parts(tmp_path: Path) -> None:
    """Queries are split, a decoder's prompt too; the engine gets to answer in between."""
    for architecture in ("modernbert", "qwen3"):
        folder = random_encoders.make(tmp_path / architecture, architecture)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
        encoder, tokens, count = load(folder), texts([2500])[0], 0

        def between() -> None:
            nonlocal count
            count += 1

        batch = EncodeBatch()
        batch.add(Embed(1, [tokens]))
        vector = np.frombuffer(encoder.encode(batch.next_pack(1), between)[0], "<f4")
        assert count >= 2
        hidden = reference_encoders.hidden_states(folder, tokens)
        np.testing.assert_allclose(vector, reference_encoders.unit(hidden.mean(0)), atol=2e-5)


def test_the_scores_of_a_long_input_are_never_all_there(tmp_path: Path) -> None:
    """Those of 4,096 tokens would take 268 MB here; of 8,192, and a real model's heads, 3 GB."""
    folder = random_encoders.make(tmp_path, "nomic_bert", n_positions=4096, n_layer=1)
    encoder, batch = load(folder), EncodeBatch()
    batch.add(Embed(1, texts([4096])))
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    encoder.encode(batch.next_pack(1))
    assert mx.get_peak_memory() - before < 150e6


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "'relative_key', which is not"),
        ("bert", {"hidden_act": "swish7"}, "hidden_act is 'swish7'"),
        ("bert", {"num_hidden_layers": 1}, "not in model"),
        ("bert", {"quantization": {"bits": 4, "group_size": 64}}, "float weights"),
        ("qwen3", {"is_causal": False, "use_sliding_window": True, "sliding_window": 8}, "'qwen3'"),
        ("qwen3", {"use_bidirectional_attention": True}, "both directions of a 'qwen3'"),
        ("nomic_bert", {"num_experts": 8}, "num_experts is 8"),
        ("nomic_bert", {"prenorm": True}, "prenorm is True"),
        (
            "modernbert",
            {"rope_parameters": {"full_attention": {"rope_theta": 1.0, "rope_type": "yarn"}}},
            "rope_type",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(
    tmp_path: Path, architecture: str, config: dict[str, Any], message: str
) -> None:
    """A model that would be computed wrongly is not loaded, and the error names what is foreign."""
    folder = random_encoders.make(tmp_path, architecture)
    old = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(old | config))
    with pytest.raises(ValueError, match=message):
        load(folder)


@pytest.mark.parametrize("architecture", RERANKERS)
def test_a_classifier_is_no_reranker(tmp_path: Path, architecture: str) -> None:
    """Several labels are no score; the error says so, not that a shape is wrong."""
    folder = random_encoders.make(tmp_path, architecture, is_reranker=True)
    with pytest.raises(ValueError, match="expected one label, .* found 3"):
        load(random_encoders.widen_head(folder, 3))


def test_foreign_tokens_and_lengths_are_refused(tmp_path: Path) -> None:
    """MLX does not check indices: they would read foreign memory."""
    encoder = load(random_encoders.make(tmp_path, "bert"))
    for tokens in ([], [5, 10**6], [-1], [5] * 129):
        with pytest.raises(ValueError, match="tokens|embeddings"):
            encoder.check(tokens)
    encoder.check([5] * 128)


def test_what_is_no_number_is_no_vector(tmp_path: Path) -> None:
    """Broken weights give an error, not a row of NaN."""
    folder = random_encoders.make(tmp_path, "bert")
    encoder = load(folder)
    network: Any = encoder._network
    network.layers[0].down.bias = network.layers[0].down.bias * float("nan")
    with pytest.raises(ValueError, match="no number"):
        encode(encoder, texts([4]))


def test_other_names_for_the_same(tmp_path: Path) -> None:
    """Prefixes, TensorFlow's names of old, and the config of transformers 5 change nothing."""
    bert = random_encoders.make(tmp_path / "bert", "bert")
    inputs = texts([3, 20])
    before = encode(load(bert), inputs)
    weights = load_file(bert / "model.safetensors")
    renamed = {
        "bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in weights.items()
    }
    save_file(renamed, bert / "model.safetensors")
    np.testing.assert_array_equal(encode(load(bert), inputs), before)

    modern = random_encoders.make(tmp_path / "modern", "modernbert")
    before = encode(load(modern), inputs)
    config = json.loads((modern / "config.json").read_text())
    for name in ("global_rope_theta", "local_rope_theta", "global_attn_every_n_layers"):
        del config[name]
    full, sliding = "full_attention", "sliding_attention"
    config["layer_types"] = [full, sliding, sliding, full]
    config["rope_parameters"] = {full: {"rope_theta": 160000.0}, sliding: {"rope_theta": 10000.0}}
    (modern / "config.json").write_text(json.dumps(config))
    np.testing.assert_array_equal(encode(load(modern), inputs), before)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_family_has_the_network_that_it_tells_of(model_type: str) -> None:
    """What an import holds the weights against is what the engine loads."""
    for has_head in (False, True):
        if has_head and not FAMILIES[model_type].can_rank:
            continue
        small: dict[str, Any] = dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers"), 2)
        small |= {"activation_function": "swiglu", "rotary_emb_fraction": 1.0}
        family = msgspec.convert(small, FAMILIES[model_type])
        network: Any = network_of(family, has_head=has_head)
        told = {network.own_name(n): s for n, s in family.shapes(has_head=has_head).items()}
        flat: Any = tree_flatten(network.parameters())
        assert told == {name: value.shape for name, value in flat}


def test_every_activation_that_is_known_is_computed() -> None:
    assert set(attention.ACTIVATIONS) == ACTIVATIONS
