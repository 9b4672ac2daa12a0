"""AWQ's packed weights become MLX's, and stand for the same numbers."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from registry.convert import __main__ as convert
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from tests.models.raw_safetensors import write_raw
from tests.models.tiny_models import make_llama

_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # of eight columns in one word, AutoAWQ's "gemm"
_GROUP = 32


def _packed(numbers: mx.array) -> mx.array:
    """Numbers from 0 to 15, of shape (rows, columns), eight columns to a word."""
    rows, columns = numbers.shape
    eights = numbers.reshape(rows, columns // 8, 8)[:, :, mx.array(_ORDER)].astype(mx.uint32)
    return (eights << (mx.arange(8, dtype=mx.uint32) * 4)).sum(axis=-1).astype(mx.uint32)


def test_awq_is_kept_as_it_is(tmp_path: Path) -> None:
    """(q - zero) * scale, for each group of a column's inputs."""
    source = make_llama(tmp_path / "source")
    loaded: Any = mx.load(str(source / "model.safetensors"))
    tensors: dict[str, mx.array] = {}
    meant: dict[str, mx.array] = {}
    types: dict[str, str] = {}
    mx.random.seed(3)
    for name, value in loaded.items():
        if not name.endswith("proj.weight"):
            tensors[name] = value.astype(mx.float16)
            continue
        outputs, inputs = value.shape
        numbers = mx.random.randint(0, 16, (inputs, outputs))
        zeros = mx.random.randint(0, 16, (inputs // _GROUP, outputs))
        scales = mx.random.uniform(0.001, 0.01, (inputs // _GROUP, outputs)).astype(mx.float16)
        stem = name.removesuffix("weight")
        tensors |= {f"{stem}qweight": _packed(numbers), f"{stem}qzeros": _packed(zeros)}
        tensors[f"{stem}scales"] = scales
        types |= {f"{stem}qweight": "I32", f"{stem}qzeros": "I32"}
        spread = [mx.repeat(part, _GROUP, axis=0) for part in (zeros, scales.astype(mx.float32))]
        meant[stem] = ((numbers - spread[0]) * spread[1]).T
    write_raw(source / "model.safetensors", tensors, types)
    path = source / "config.json"
    packing = {"quant_method": "awq", "bits": 4, "group_size": _GROUP, "version": "gemm"}
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"quantization_config": packing}))
    work = Work(str(source), str(tmp_path / "target"))
    verified = carry_out(convert.check(work), work, lambda stage, done, total: None)
    assert verified.bits == 4
    found: Any = mx.load(str(tmp_path / "target/model.safetensors"))
    for stem, value in meant.items():
        weight, scales, biases = (found[stem + part] for part in ("weight", "scales", "biases"))
        numbers = mx.dequantize(weight, scales, biases, _GROUP, 4).astype(mx.float32)
        assert float(mx.abs(numbers - value).max()) == pytest.approx(0, abs=2e-4), stem
