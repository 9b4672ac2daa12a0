"""Tests of registry.convert.gguf: a model of known weights, as GGUF and back, is the same model."""

import json
import struct
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from mlx_lm import stream_generate
from mlx_lm.sample_utils import make_sampler
from mlx_lm.utils import load_model, load_tokenizer
from tokenizers import Tokenizer

from registry.checkpoint.verify import Verified
from registry.convert import __main__ as convert
from registry.convert.conversion import carry_out
from registry.convert.gguf import file as gguf_file
from registry.convert.gguf.file import GgufFile
from registry.convert_messages import Work
from registry.errors import BrokenWeights, ConversionFailed, NotAModel
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama

PROMPT = "def reverse(text: str) -> str: Grüße 123"

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
QWEN3 = {"model_type": "qwen3", "head_dim": 32}
SMOLLM3 = {"model_type": "smollm3", "num_hidden_layers": 4}
LLAMA3 = {
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}


def run(source: Path, target: Path, **recipe: Any) -> Verified:
    """A job, within this process."""
    work = Work(str(source), str(target), **recipe)
    return carry_out(convert.check(work), work, lambda stage, done, total: None)


def logits(folder: Path) -> mx.array:
    """Of every position of a text, as a CPU engine computes them; (1, tokens, vocabulary)."""
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(PROMPT).ids
    # Far positions too: that is where a wrong rotation shows.
    scores: mx.array = model(mx.array([ids * 20]))
    return scores


def greedy_text(folder: Path) -> str:
    model, _ = load_model(folder)
    tokenizer = load_tokenizer(folder, {"trust_remote_code": False})
    steps = stream_generate(model, tokenizer, PROMPT, max_tokens=40, sampler=make_sampler(temp=0.0))
    return "".join(step.text for step in steps)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"tie_word_embeddings": False},
        {"attention_bias": True, "mlp_bias": True},
        LLAMA3,
        {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {"model_type": "qwen2"},
        {"model_type": "qwen2", "rope_scaling": YARN},
        QWEN3,
        SMOLLM3,
    ],
    ids=["llama", "untied", "biases", "llama3", "linear", "qwen2", "yarn", "qwen3", "smollm3"],
)
def test_float32_comes_back_exactly(tmp_path: Path, overrides: dict[str, Any]) -> None:
    """Logits and greedy text of every family are the original's, bit for bit."""
    original = make_llama(tmp_path / "original", **overrides)
    source = write_gguf(original, tmp_path / "model.gguf")
    verified = run(source, tmp_path / "converted")
    assert verified.bits is None and verified.kind == "llm"
    assert verified.model_type == overrides.get("model_type", "llama")
    assert mx.array_equal(logits(tmp_path / "converted"), logits(original))
    assert greedy_text(tmp_path / "converted") == greedy_text(original)


def weights(folder: Path) -> dict[str, mx.array]:
    loaded: Any = mx.load(str(folder / "model.safetensors"))
    return dict(loaded)


@pytest.mark.parametrize(("kind", "tolerance"), [("F16", 0.005), ("BF16", 0.04), ("Q8_0", 0.08)])
def test_logits_agree_within_the_precision(tmp_path: Path, kind: str, tolerance: float) -> None:
    """They deviate by a small part of their spread, as the bits of the type allow."""
    original = make_llama(tmp_path / "original")
    run(write_gguf(original, tmp_path / "model.gguf", kind), tmp_path / "converted")
    expected = logits(original)
    deviation = (logits(tmp_path / "converted") - expected).std() / expected.std()
    assert 0 < float(deviation) < tolerance


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"])
def test_weights_are_what_the_file_says(tmp_path: Path, kind: str, dtype: str) -> None:
    """Each number is the one that the quantisation stands for, rounded to the type asked for."""
    original = make_llama(tmp_path / "original")
    source = write_gguf(original, tmp_path / "model.gguf", kind)
    run(source, tmp_path / "converted", dtype=dtype)
    converted = weights(tmp_path / "converted")
    expected = weights(original)
    assert converted.keys() == expected.keys()
    for name, value in expected.items():
        plain = np.array(value)
        if plain.ndim > 1:
            plain = dequantize(
                quantize(plain, GGMLQuantizationType[kind]), GGMLQuantizationType[kind]
            )
        assert mx.array_equal(converted[name], mx.array(plain).astype(getattr(mx, dtype))), name


@pytest.mark.parametrize("kind", [kind.name for kind in GGML_QUANT_SIZES])
def test_every_quantisation_is_read(tmp_path: Path, kind: str) -> None:
    """What llama.cpp's own package can turn into numbers is; the rest is refused by name."""
    wanted = GGMLQuantizationType[kind]
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    num_bytes = 256 // GGML_QUANT_SIZES[wanted][0] * GGML_QUANT_SIZES[wanted][1]
    writer.add_tensor("output.weight", np.zeros((3, num_bytes), np.uint8), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile.open(tmp_path / "model.gguf")
    (tensor,) = file.tensors.values()
    assert (tensor.dtype, tensor.shape) == (kind, (3, 256))
    if kind in ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K", "Q1_0"):
        with pytest.raises(NotAModel, match=kind):
            list(file.blocks(tensor))
    else:
        (block,) = file.blocks(tensor)
        assert block.shape == (3, 256) and block.dtype == np.float32


def test_large_tensors_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows at a time give the same weights as all at once, packed ones too."""
    source = write_gguf(make_llama(tmp_path / "original"), tmp_path / "model.gguf", "Q8_0")
    for bits in (None, 4):
        run(source, tmp_path / f"whole{bits}", bits=bits, group_size=32)
        with monkeypatch.context() as patch:
            patch.setattr(gguf_file, "_BLOCK_NUMBERS", 500)
            run(source, tmp_path / f"parts{bits}", bits=bits, group_size=32)
        whole, parts = weights(tmp_path / f"whole{bits}"), weights(tmp_path / f"parts{bits}")
        assert whole.keys() == parts.keys()
        assert all(mx.array_equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("bits", [4, 8])
def test_packing_is_the_same_as_of_a_folder(tmp_path: Path, bits: int) -> None:
    """Bits asked for at once, or of the folder that came out, give the same files."""
    source = write_gguf(make_llama(tmp_path / "original"), tmp_path / "model.gguf", "Q8_0")
    at_once = run(source, tmp_path / "at-once", bits=bits, group_size=32)
    plain = run(source, tmp_path / "plain")
    run(tmp_path / "plain", tmp_path / "later", bits=bits, group_size=32)
    first, second = weights(tmp_path / "at-once"), weights(tmp_path / "later")
    assert first.keys() == second.keys()
    assert all(mx.array_equal(first[name], second[name]) for name in first)
    assert (at_once.bits, at_once.num_params) == (bits, plain.num_params)


def test_half_precision_suits_the_family(tmp_path: Path) -> None:
    """A GPU computes quantised weights in float16 for a llama and in bfloat16 for a Qwen."""
    for overrides, dtype in (({}, "float16"), (QWEN3, "bfloat16")):
        original = make_llama(tmp_path / f"original-{dtype}", **overrides)
        source = write_gguf(original, tmp_path / "model.gguf", "Q8_0")
        run(source, tmp_path / f"converted-{dtype}")
        config = json.loads((tmp_path / f"converted-{dtype}/config.json").read_bytes())
        assert config["dtype"] == config.get("compute_dtype", dtype) == dtype


def test_the_config_tells_where_an_answer_ends(tmp_path: Path) -> None:
    """Both ends of a turn are in config.json, and the context is the file's."""
    original = make_llama(tmp_path / "original", max_position_embeddings=777)
    extra: dict[str, Any] = {"tokenizer__ggml__eot_token_id": 0}
    verified = run(write_gguf(original, tmp_path / "model.gguf", **extra), tmp_path / "converted")
    config = json.loads((tmp_path / "converted/config.json").read_bytes())
    assert config["eos_token_id"] == [2, 0]
    assert verified.context_length == config["max_position_embeddings"] == 777


@pytest.mark.parametrize(
    ("overrides", "extra", "error"),
    [
        ({}, {"llama__expert_count": 8}, "mixture of experts"),
        ({}, {"split__count": 3}, "llama-gguf-split"),
        ({"head_dim": 32}, {"llama__rope__scaling__type": "linear"}, "rope.scaling.factor is"),
        ({"model_type": "gpt2"}, {}, "smollm3, bert, nomic-bert are read"),
        ({"rms_norm_eps": float("nan")}, {}, "layer_norm_rms_epsilon is 'nan'"),
        ({"max_position_embeddings": 0}, {}, "context_length is '0'"),
    ],
)
def test_what_is_not_known_is_refused(
    tmp_path: Path, overrides: dict[str, Any], extra: dict[str, Any], error: str
) -> None:
    """A variant that would run and answer nonsense is no model, and leaves nothing behind."""
    original = make_llama(tmp_path / "original")
    config = json.loads((original / "config.json").read_bytes()) | overrides
    (original / "config.json").write_text(json.dumps(config))
    source = write_gguf(original, tmp_path / "model.gguf", **extra)
    with pytest.raises(NotAModel, match=error):
        run(source, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_as_many_heads_in_every_layer_may_be_a_list(tmp_path: Path) -> None:
    """One number a layer is as good as one number, if they are the same."""
    original = make_llama(tmp_path / "original")
    source = write_gguf(original, tmp_path / "model.gguf", llama__attention__head_count_kv=[2, 2])
    run(source, tmp_path / "converted")
    assert mx.array_equal(logits(tmp_path / "converted"), logits(original))
    source = write_gguf(original, tmp_path / "other.gguf", llama__attention__head_count_kv=[2, 1])
    with pytest.raises(NotAModel, match="head_count_kv is a list"):
        run(source, tmp_path / "other")


def test_tokens_without_embeddings_are_refused(tmp_path: Path) -> None:
    """Their ids would be looked up beyond the end of the table."""
    original = make_llama(tmp_path / "original")
    change(original, "model.embed_tokens.weight", mx.zeros((100, 64)))
    source = write_gguf(original, tmp_path / "model.gguf")
    with pytest.raises(NotAModel, match=r"has \d+ tokens and 100 embeddings"):
        run(source, tmp_path / "converted")


def test_a_gguf_is_found_beside_its_projector(tmp_path: Path) -> None:
    """As LM Studio lays out a model that sees; under Ollama's name for a blob, too."""
    original = make_llama(tmp_path / "original")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "mmproj-model-F16.gguf").write_bytes(b"GGUF")
    blob = write_gguf(original, tmp_path / "sha256-0123abcd")
    blob.rename(folder / "Model-F32.GGUF")
    run(folder, tmp_path / "converted")
    assert mx.array_equal(logits(tmp_path / "converted"), logits(original))
    run(write_gguf(original, tmp_path / "sha256-0123abcd"), tmp_path / "blob")
    assert mx.array_equal(logits(tmp_path / "blob"), logits(original))


def change(original: Path, name: str, value: mx.array | None) -> None:
    """Put another tensor in place of one, or none."""
    changed = weights(original)
    if value is None:
        del changed[name]
    else:
        changed[name] = value
    mx.eval(changed)
    mx.save_safetensors(str(original / "model.safetensors"), changed)


def test_a_missing_tensor_is_found(tmp_path: Path) -> None:
    """A file without one of its layers' tensors does not become a model."""
    original = make_llama(tmp_path / "original")
    change(original, "model.layers.1.mlp.up_proj.weight", None)
    with pytest.raises(NotAModel, match="mlp.up_proj"):
        run(write_gguf(original, tmp_path / "model.gguf"), tmp_path / "converted")


def test_an_unknown_tensor_is_refused(tmp_path: Path) -> None:
    """What a llama does not have would silently be lost."""
    original = make_llama(tmp_path / "original")
    change(original, "model.layers.1.self_attn.q_norm.weight", mx.ones(16))
    with pytest.raises(NotAModel, match="q_norm"):
        run(write_gguf(original, tmp_path / "model.gguf"), tmp_path / "converted")


def test_damaged_numbers_are_found(tmp_path: Path) -> None:
    """A weight that is no number is broken data; one too large for float16 needs another type."""
    original = make_llama(tmp_path / "original")
    name = "model.layers.1.mlp.up_proj.weight"
    change(original, name, mx.full((128, 64), 1e5))
    source = write_gguf(original, tmp_path / "model.gguf")
    with pytest.raises(ConversionFailed, match="too large for float16; ask for the dtype bfloat16"):
        run(source, tmp_path / "converted", dtype="float16")
    run(source, tmp_path / "wide", dtype="bfloat16")
    change(original, name, mx.full((128, 64), float("nan")))
    with pytest.raises(BrokenWeights, match="no numbers"):
        run(write_gguf(original, tmp_path / "model.gguf"), tmp_path / "converted")


def test_factors_of_another_rotation_are_refused(tmp_path: Path) -> None:
    """rope_freqs that no Llama 3 has cannot be put into a config."""
    original = make_llama(tmp_path / "original", **LLAMA3)
    source = write_gguf(original, tmp_path / "model.gguf")
    base, other = struct.pack("<f", 500000.0), struct.pack("<f", 777.0)
    source.write_bytes(source.read_bytes().replace(base, other, 1))
    with pytest.raises(NotAModel, match="not those of a Llama 3"):
        run(source, tmp_path / "converted")
