"""Tests of convert.gguf.storage: what becomes of a file's weights, whole files imported."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from gguf import GGUFValueType, GGUFWriter
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize
from mlx.nn.layers.quantized import QuantizedEmbedding, QuantizedLinear
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model

from registry.checkpoint.verify import Verified
from registry.convert import __main__ as convert
from registry.convert import conversion, room
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from registry.errors import ConversionFailed
from tests.models.gguf_blocks import random_rows
from tests.models.gguf_files import gguf_name, tokenizer_metadata
from tests.models.tiny_models import make_llama

_SIZES = {"hidden_size": 256, "intermediate_size": 512, "tie_word_embeddings": False}
_SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2}

KEPT = {"Q4_0": 4, "Q4_1": 4, "Q5_0": 5, "Q5_1": 5, "Q8_0": 8, "Q4_K": 4, "Q5_K": 5}


def run(source: Path, target: Path, **recipe: Any) -> Verified:
    """A job, within this process."""
    work = Work(str(source), str(target), **recipe)
    return carry_out(convert.check(work), work, lambda stage, done, total: None)


def write_blocks(
    original: Path, path: Path, kinds: dict[str, str], default: str = "F32"
) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """A GGUF with random blocks of a type for each tensor of `original` whose name ends so.

    Returns the numbers that they stand for, under the names of `original`, rows in its order.
    """
    config = json.loads((original / "config.json").read_bytes())
    writer = GGUFWriter(path, config["model_type"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(512)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    for key, value in tokenizer_metadata(original, "gpt-2").items():
        writer.add_key_value(key, value, GGUFValueType.get_type(value))
    loaded: Any = mx.load(str(original / "model.safetensors"))
    expected = {}
    for seed, (name, tensor) in enumerate(loaded.items()):
        kind = next((kinds[end] for end in kinds if f".{end}." in f".{name}"), default)
        wanted = GGMLQuantizationType[kind if tensor.ndim > 1 else "F32"]
        if tensor.ndim > 1:
            rows = random_rows(wanted.name, tensor.shape[0], tensor.shape[1], seed)
        else:
            rows = np.array(tensor).view(np.uint8)
        writer.add_tensor(gguf_name(name), rows, raw_dtype=wanted)
        numbers = dequantize(rows, wanted)
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
        for layer, count in heads.items():
            if layer in name and config["model_type"] == "llama":
                halves = numbers.reshape(config[count], -1, 2, numbers.shape[-1])
                numbers = halves.swapaxes(1, 2).reshape(numbers.shape)
        expected[name] = numbers
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def numbers_of(folder: Path) -> dict[str, mx.array]:
    """Every weight of the model as mlx-lm loads it, in float32, dequantised where it is packed."""
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)  # as a CPU's engine does
    found = dict(tree_flatten(model.parameters()))
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear | QuantizedEmbedding):
            found[f"{name}.weight"] = mx.dequantize(
                *(module.weight, module.scales, module.biases, module.group_size, module.bits)
            )
    return {
        name: value for name, value in found.items() if not name.endswith((".scales", "biases"))
    }


@pytest.mark.parametrize("model_type", ["llama", "qwen3"])
@pytest.mark.parametrize("kind", [*KEPT, "Q3_K", "IQ4_NL", "IQ4_XS", "TQ1_0"])
def test_packed_weights_are_kept(tmp_path: Path, kind: str, model_type: str) -> None:
    """Embedding, head, reordered rows of q and k: every number is the one that gguf reads."""
    original = make_llama(tmp_path / "original", **_SIZES, model_type=model_type, head_dim=64)
    norms = {"q_norm": "F32", "k_norm": "F32"}
    expected = write_blocks(original, tmp_path / "model.gguf", norms, default=kind)
    verified = run(tmp_path / "model.gguf", tmp_path / "converted")
    found = numbers_of(tmp_path / "converted")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(np.array(found[name]), value), name
    group = 128 if kind in ("Q3_K", "TQ1_0") else 32
    bits = 2 if kind == "TQ1_0" else KEPT.get(kind, 8)
    assert verified.bits == bits
    assert f"{kind} kept as {bits} bits in groups of {group}, 16 tensors" in verified.weights


def test_types_are_mixed_by_layer(tmp_path: Path) -> None:
    """As in a file of llama.cpp's Q4_K_M; config.json says what differs from most tensors."""
    original = make_llama(tmp_path / "original", **_SIZES)
    kinds = {"embed_tokens": "Q8_0", "lm_head": "Q6_K", "0.mlp.down_proj": "Q5_K", "v_proj": "F16"}
    expected = write_blocks(original, tmp_path / "model.gguf", kinds, default="Q4_K")
    verified = run(tmp_path / "model.gguf", tmp_path / "converted")
    config = json.loads((tmp_path / "converted/config.json").read_bytes())
    assert config["quantization"] == config["quantization_config"]
    assert config["quantization"] == {
        **{"group_size": 32, "bits": 4, "mode": "affine"},
        "model.embed_tokens": {"group_size": 32, "bits": 8, "mode": "affine"},
        "lm_head": {"group_size": 32, "bits": 8, "mode": "affine"},
        "model.layers.0.mlp.down_proj": {"group_size": 32, "bits": 5, "mode": "affine"},
    }
    found = numbers_of(tmp_path / "converted")
    for name, value in expected.items():
        if name != "lm_head.weight":
            assert np.array_equal(np.array(found[name]), value), name
    off = np.array(found["lm_head.weight"]) - expected["lm_head.weight"]
    assert 0 < np.square(off).mean() < 0.005**2 * np.square(expected["lm_head.weight"]).mean()
    (line,) = (line for line in verified.weights if line.startswith("Q6_K"))
    assert line.startswith("Q6_K converted to 8 bits in groups of 32, 1 tensor, moved by 0.4")
    assert verified.num_params == sum(value.size for value in expected.values())


def test_vectors_keep_what_float16_would_lose(tmp_path: Path) -> None:
    """A norm beside packed weights stays in float32 if no half type holds it."""
    original = make_llama(tmp_path / "original", **_SIZES)
    loaded: Any = mx.load(str(original / "model.safetensors"))
    loaded = dict(loaded) | {"model.norm.weight": mx.full(256, 1 + 2.0**-20)}
    mx.eval(loaded)
    mx.save_safetensors(str(original / "model.safetensors"), loaded)
    expected = write_blocks(original, tmp_path / "model.gguf", {}, default="Q4_0")
    run(tmp_path / "model.gguf", tmp_path / "converted")
    found = numbers_of(tmp_path / "converted")["model.norm.weight"]
    assert np.array_equal(np.array(found), expected["model.norm.weight"])
    config = json.loads((tmp_path / "converted/config.json").read_bytes())
    assert config["compute_dtype"] == "float16"


@pytest.mark.parametrize(
    ("kind", "bits"), [("Q4_1", 4), ("Q4_K", 4), ("Q4_K", 6), ("Q8_0", None), ("Q5_0", 5)]
)
def test_a_second_packing_in_as_few_bits_is_refused(
    tmp_path: Path, kind: str, bits: int | None
) -> None:
    """Also where only some of the tensors have so few."""
    original = make_llama(tmp_path / "original", **_SIZES)
    write_blocks(original, tmp_path / "model.gguf", {"embed_tokens": "Q8_0"}, default=kind)
    if bits is None:
        run(tmp_path / "model.gguf", tmp_path / "converted", bits=4)
        return
    with pytest.raises(ConversionFailed, match=f"packed in {kind[1]} bits already .{kind}."):
        run(tmp_path / "model.gguf", tmp_path / "converted", bits=bits)
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize(("kind", "bits"), [("Q4_1", 8), ("Q8_0", 4), ("F16", 4), ("Q6_K", 5)])
def test_wider_weights_are_packed_and_the_loss_is_told(
    tmp_path: Path, kind: str, bits: int
) -> None:
    original = make_llama(tmp_path / "original", **_SIZES)
    write_blocks(original, tmp_path / "model.gguf", {}, default=kind)
    verified = run(tmp_path / "model.gguf", tmp_path / "converted", bits=bits, group_size=64)
    assert verified.bits == bits
    (line,) = (line for line in verified.weights if line.startswith(kind))
    assert line.startswith(f"{kind} converted to {bits} bits in groups of 64, 16 tensors, moved by")


def test_plain_numbers_of_packed_weights(tmp_path: Path) -> None:
    """Who asks for a dtype gets all weights unpacked in it."""
    original = make_llama(tmp_path / "original", **_SIZES)
    expected = write_blocks(original, tmp_path / "model.gguf", {}, default="Q4_K")
    verified = run(tmp_path / "model.gguf", tmp_path / "converted", dtype="float32")
    assert verified.bits is None
    found = numbers_of(tmp_path / "converted")
    assert all(np.array_equal(np.array(found[name]), expected[name]) for name in expected)


def test_room_is_looked_for_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the target will take: little for kept weights, four times that for float32."""
    original = make_llama(tmp_path / "original", **_SIZES)
    write_blocks(original, tmp_path / "model.gguf", {}, default="Q4_0")
    needed = []
    monkeypatch.setattr(conversion, "check_room", lambda _, num_bytes: needed.append(num_bytes))
    for name, recipe in (("kept", {}), ("plain", {"dtype": "float32"}), ("packed", {"bits": 8})):
        verified = run(tmp_path / "model.gguf", tmp_path / name, **recipe)
        assert verified.size_bytes - 8192 < needed[-1] <= verified.size_bytes
    assert needed[0] < needed[2] < needed[1]
    monkeypatch.undo()
    monkeypatch.setattr(room, "_RESERVE_BYTES", 1 << 60)
    with pytest.raises(ConversionFailed, match="MiB are needed"):
        run(tmp_path / "model.gguf", tmp_path / "none")
    assert not (tmp_path / "none").exists()
