"""Weights of eight bits become the numbers that they stand for, or are refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.utils import load_model

from registry.checkpoint.verify import Verified
from registry.convert import __main__ as convert
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from registry.errors import NotAModel
from runtime.engine.loader import load
from tests.models.raw_safetensors import write_raw
from tests.models.tiny_encoders import make_bert
from tests.models.tiny_models import make_llama

Quantise = Callable[[mx.array], tuple[mx.array, dict[str, mx.array], mx.array]]


def _run(source: Path, target: Path | None, **recipe: Any) -> Verified:
    work = Work(str(source), str(target) if target else None, **recipe)
    return carry_out(convert.check(work), work, lambda stage, done, total: None)


def _rounded(weight: mx.array, scale: mx.array) -> tuple[mx.array, mx.array]:
    """Bytes of E4M3, and the numbers they stand for."""
    bytes_ = mx.to_fp8(weight / scale)
    return bytes_, mx.from_fp8(bytes_, mx.float32) * scale


def _plain(weight: mx.array) -> tuple[mx.array, dict[str, mx.array], mx.array]:
    bytes_, meant = _rounded(weight, mx.array(1.0))
    return bytes_, {}, meant


def _one_for_all(weight: mx.array) -> tuple[mx.array, dict[str, mx.array], mx.array]:
    scale = mx.abs(weight).max() / 448.0
    bytes_, meant = _rounded(weight, scale)
    return bytes_, {"_scale": scale.reshape(1)}, meant


def _one_a_row(weight: mx.array) -> tuple[mx.array, dict[str, mx.array], mx.array]:
    scale = mx.abs(weight).max(axis=1, keepdims=True) / 448.0
    bytes_, meant = _rounded(weight, scale)
    return bytes_, {"_scale": scale}, meant


def _flat_row(weight: mx.array) -> tuple[mx.array, dict[str, mx.array], mx.array]:
    bytes_, scales, meant = _one_a_row(weight)
    return bytes_, {"_scale": scales["_scale"][:, 0]}, meant


def _blocks(weight: mx.array) -> tuple[mx.array, dict[str, mx.array], mx.array]:
    rows, columns = weight.shape
    mx.random.seed(7)
    inverse = mx.random.uniform(0.01, 0.1, (-(-rows // 32), -(-columns // 32)))
    spread = mx.repeat(mx.repeat(inverse, 32, axis=0), 32, axis=1)[:rows, :columns]
    bytes_, meant = _rounded(weight, spread)
    return bytes_, {"_scale_inv": inverse}, meant


def _exponents(weight: mx.array) -> tuple[mx.array, dict[str, mx.array], mx.array]:
    rows, columns = weight.shape
    exponent = mx.full((-(-rows // 32), -(-columns // 32)), 121, mx.uint8)
    bytes_, meant = _rounded(weight, mx.array(2.0**-6))
    return bytes_, {"_scale_inv": exponent}, meant


_FORMS: list[tuple[Quantise, dict[str, Any] | None]] = [
    (_plain, None),
    (_one_for_all, {"quant_method": "modelopt", "quant_algo": "FP8"}),
    (_one_a_row, {"quant_method": "compressed-tensors", "format": "float-quantized"}),
    (_flat_row, {"quant_method": "fbgemm_fp8"}),
    (_blocks, {"quant_method": "fp8", "weight_block_size": [32, 32]}),
    (_exponents, {"quant_method": "fp8", "weight_block_size": [32, 32], "scale_fmt": "ue8m0"}),
]


def _make(folder: Path, quantise: Quantise, packing: object, **config: Any) -> dict[str, mx.array]:
    """A llama whose matrices are of eight bits. Returns what its weights stand for."""
    make_llama(folder, **config)
    loaded: Any = mx.load(str(folder / "model.safetensors"))
    tensors: dict[str, mx.array] = {}
    meant = dict(loaded)
    types = {}
    for name, value in loaded.items():
        tensors[name] = value
        if name.endswith("proj.weight"):
            tensors[name], scales, meant[name] = quantise(value)
            types[name] = "F8_E4M3"
            tensors |= {name + ending: scale for ending, scale in scales.items()}
            tensors[name.removesuffix("weight") + "input_scale"] = mx.array([1.0])
            if scales.get("_scale_inv", mx.array(0.0)).dtype == mx.uint8:
                types[name + "_scale_inv"] = "F8_E8M0"
    write_raw(folder / "model.safetensors", tensors, types)
    path = folder / "config.json"
    content = json.loads(path.read_bytes())
    if packing is not None:
        content["quantization_config"] = packing
    path.write_text(json.dumps(content))
    return meant


@pytest.mark.parametrize(("quantise", "packing"), _FORMS)
def test_every_form_of_scales_is_decoded(
    tmp_path: Path, quantise: Quantise, packing: dict[str, Any] | None
) -> None:
    """To bfloat16, which holds the numbers of E4M3; the folder no longer tells of a packing."""
    meant = _make(tmp_path / "source", quantise, packing)
    _run(tmp_path / "source", tmp_path / "target")
    found: Any = mx.load(str(tmp_path / "target/model.safetensors"))
    assert set(found) == set(meant)
    for name, value in meant.items():
        assert mx.allclose(found[name].astype(mx.float32), value, rtol=2**-8, atol=0), name
    assert "quantization_config" not in json.loads((tmp_path / "target/config.json").read_bytes())
    load(tmp_path / "target", lambda done, total: None)


def test_a_packing_that_stands_in_its_own_file(tmp_path: Path) -> None:
    """ModelOpt's hf_quant_config.json is not taken along: mlx-lm would read it again."""
    _make(tmp_path / "source", _one_for_all, None)
    said = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    (tmp_path / "source/hf_quant_config.json").write_text(json.dumps(said))
    _run(tmp_path / "source", tmp_path / "target")
    load_model(tmp_path / "target")
    said["quantization"] = {"quant_algo": "NVFP4"}
    (tmp_path / "source/hf_quant_config.json").write_text(json.dumps(said))
    with pytest.raises(NotAModel, match="packed as ModelOpt \\(NVFP4\\)"):
        _run(tmp_path / "source", tmp_path / "other")


def test_an_architecture_that_decodes_by_itself_gets_numbers(tmp_path: Path) -> None:
    """mlx-lm's ministral3 multiplies the scale with the bytes."""
    parameters = {
        "rope_theta": 1e4,
        "rope_type": "default",
        "llama_4_scaling_beta": 0.1,
        "original_max_position_embeddings": 64,
    }
    packing = {"quant_method": "fp8", "weight_block_size": [32, 32]}
    config = {"model_type": "ministral3", "head_dim": 16, "rope_parameters": parameters}
    meant = _make(tmp_path / "source", _blocks, packing, **config)
    _run(tmp_path / "source", tmp_path / "target")
    found: Any = mx.load(str(tmp_path / "target/model.safetensors"))
    for name, value in meant.items():
        assert mx.allclose(found[name].astype(mx.float32), value, rtol=2**-8, atol=0), name


def test_bits_that_are_asked_for_come_after(tmp_path: Path) -> None:
    """A decoded model is packed as any other."""
    _make(tmp_path / "source", _blocks, {"quant_method": "fp8", "weight_block_size": [32, 32]})
    assert _run(tmp_path / "source", tmp_path / "target", bits=4).bits == 4
    load_model(tmp_path / "target")


def test_scales_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Blocks of another size than config.json says cannot be told apart."""
    _make(tmp_path / "source", _blocks, {"quant_method": "fp8", "weight_block_size": [48, 48]})
    with pytest.raises(NotAModel, match="fit neither its rows nor its blocks"):
        _run(tmp_path / "source", tmp_path / "target")


@pytest.mark.parametrize("dtype", [mx.uint8, mx.int8, mx.int32, mx.uint32, mx.int64])
def test_whole_numbers_are_no_weights(tmp_path: Path, dtype: mx.Dtype) -> None:
    """Neither at import, nor in a folder that was registered before."""
    folder = make_llama(tmp_path / "source")
    loaded: Any = mx.load(str(folder / "model.safetensors"))
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = {**loaded, name: mx.clip(loaded[name] * 100, 0, 100).astype(dtype)}
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, {"format": "mlx"})
    with pytest.raises(NotAModel, match=name):
        _run(folder, tmp_path / "target")
    with pytest.raises(ValueError, match=name):
        load(folder, lambda done, total: None)


@pytest.mark.parametrize("dtype", ["F8_E5M2", "F64", "C64"])
def test_a_type_that_mlx_does_not_read_is_named(tmp_path: Path, dtype: str) -> None:
    """By the header alone, before any native reader."""
    folder = make_llama(tmp_path / "source")
    size = 1 if dtype == "F8_E5M2" else 8
    bytes_ = mx.zeros((64 * size,), mx.uint8).reshape(64, size)
    loaded: Any = mx.load(str(folder / "model.safetensors"))
    write_raw(folder / "model.safetensors", {**loaded, "model.norm.weight": bytes_}, {})
    raw = (folder / "model.safetensors").read_bytes()
    old = json.dumps({"dtype": "U8", "shape": [64, size]})[1:-1].encode()
    new = json.dumps({"dtype": dtype, "shape": [64]})[1:-1].encode()
    start = raw.index(b"model.norm.weight")
    header = raw[8:start] + raw[start:].replace(old, new, 1)
    length = int.from_bytes(raw[:8], "little") + len(new) - len(old)
    (folder / "model.safetensors").write_bytes(length.to_bytes(8, "little") + header)
    with pytest.raises(NotAModel, match=f"'model.norm.weight' is of type {dtype}"):
        _run(folder, tmp_path / "target")


def test_a_registered_folder_of_eight_bits_is_imported_again(tmp_path: Path) -> None:
    """It was listed as ready, and computed with the bytes."""
    _make(tmp_path / "source", _plain, None)
    with pytest.raises(NotAModel, match="import it again"):
        _run(tmp_path / "source", None)
    with pytest.raises(ValueError, match="uint8"):
        load(tmp_path / "source", lambda done, total: None)


def test_an_encoder_of_eight_bits_is_refused(tmp_path: Path) -> None:
    """Encoders are taken as they are, so nothing would decode it."""
    folder = make_bert(tmp_path / "source")
    loaded: Any = mx.load(str(folder / "model.safetensors"))
    name = next(name for name in loaded if name.endswith("query.weight"))
    tensors = {**loaded, name: mx.to_fp8(loaded[name])}
    write_raw(folder / "model.safetensors", tensors, {name: "F8_E4M3"})
    with pytest.raises(NotAModel, match="is of type F8_E4M3"):
        _run(folder, tmp_path / "target")
