"""Tests of runtime.memory.cost: what a folder will cost, whatever its headers claim."""

import json
import os
from pathlib import Path

import pytest

from registry.checkpoint.cache_shape import CacheShape
from registry.checkpoint.model import Model
from registry.checkpoint.model_memory import ModelMemory
from registry.checkpoint.weights import read_header
from runtime.engine_messages import ModelInfo
from runtime.memory import cost, machine
from tests.models.tiny_models import make_llama


def model(folder: Path, header: bytes, size: int = 0) -> Model:
    """A model of one file with this header and `size` bytes of tensors."""
    content = len(header).to_bytes(8, "little") + header + bytes(size)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return Model("tiny", folder)


def test_half_precision_is_counted_as_the_engine_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU bf16 becomes float32: twice the bytes. On a Mac it stays."""
    header = {
        "__metadata__": {"format": "mlx"},
        "a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
        "b": {"dtype": "F32", "shape": [8], "data_offsets": [64, 96]},
    }
    tiny = model(tmp_path, json.dumps(header).encode(), 96)
    on_disk = tiny.weight_bytes
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: False)
    assert cost.load_bytes(tiny) - cost.PROCESS_BYTES == on_disk + 64
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: True)
    assert cost.load_bytes(tiny) - cost.PROCESS_BYTES == on_disk


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 200_000,
        b"[]",
        b"not json",
        b'{"a":{"dtype":"BF16","shape":[-1000000000000]}}',
        b'{"a":{"dtype":"BF16","shape":["x"]}}',
        b'{"a":[1]}',
        b'{"a":null}',
        b'{"a":{"dtype":"BF16","shape":"x"}}',
        b'{"a":{"x":' + b"[" * 200_000,
        b'{"a":{"dtype":"BF16","shape":[' + b"281474976710656," * 300_000 + b"1]}}",
    ],
    ids=["deep", "list", "text", "negative", "words", "tensor", "null", "word", "in it", "product"],
)
def test_a_hostile_header_is_an_error(
    tmp_path: Path, header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a crash, never a cost below nothing that everything is admitted with."""
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: False)
    with pytest.raises(ValueError, match="model.safetensors is broken"):
        cost.load_bytes(model(tmp_path, header))


TENSORS = b'"a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}}'


@pytest.mark.parametrize(
    "header",
    [
        b'{"__metadata__": {"format": "' + b"x" * (20 << 20) + b'"}, ' + TENSORS,
        b"{" + TENSORS + b" " * (20 << 20),
        b'{"__metadata__": null, ' + TENSORS,  # as MLX writes it
        b'{"__metadata__": {"shape": "tall", "dtype": "BF16"}, ' + TENSORS,
        b'{"b": {"dtype": "F16", "shape": [0, 9223372036854775807], "data_offsets": [0, 0]}, '
        + TENSORS,
    ],
    ids=["metadata of 20 MiB", "20 MiB of spaces", "no metadata", "names in it", "empty"],
)
def test_what_verifies_is_priced(
    tmp_path: Path, header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound file is not called damaged by one of the two who read it."""
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: False)
    tiny = model(tmp_path, header, 64)
    assert read_header(tmp_path / "model.safetensors").tensors[-1].shape == (4, 8)
    assert cost.load_bytes(tiny) - cost.PROCESS_BYTES == tiny.weight_bytes + 64


def test_a_pipe_is_no_weight_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it would wait for ever."""
    monkeypatch.setattr(machine, "keeps_half_precision", lambda: False)
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="not a regular file"):
        cost.load_bytes(Model("tiny", tmp_path))


def test_what_was_measured_beats_what_files_tell(tmp_path: Path) -> None:
    """The engine that has the model, one that had it before, its files: in this order."""
    folder = make_llama(tmp_path)
    told = cost.memory_of(Model("tiny", folder))
    assert told.weight_bytes > 0 and told.cache.token_bytes > 0 and told.pass_bytes > 0
    earlier = ModelMemory(1, CacheShape(2), pass_bytes=3)
    known = Model("tiny", folder, memory=earlier)
    assert cost.memory_of(known) == earlier
    info = ModelInfo("llama", 10, 1, 7, "", "", cache_shape=CacheShape(5), process_bytes=1 << 40)
    loaded = cost.memory_of(known, info)
    assert (loaded.weight_bytes, loaded.cache, loaded.process_bytes) == (7, CacheShape(5), 1 << 40)
    assert loaded.pass_bytes == 3  # that is measured later


def test_a_config_that_tells_too_little_costs_its_weights(tmp_path: Path) -> None:
    told = cost.told_memory(model(tmp_path, b"{}", 8))
    assert told == ModelMemory(18, process_bytes=cost.PROCESS_BYTES)
