"""Tests of registry.checkpoint.weights: safetensors that lie are found out, without native code."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from safetensors import safe_open
from safetensors.numpy import save

from registry.checkpoint.weights import Header, read_header
from registry.errors import BrokenWeights
from tests.registry.damage import mutated

VALID = save(
    {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(0, np.int8), "c": np.ones(5)},
    {"format": "mlx"},
)


def safetensors(header: object, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def tensor(shape: list[Any], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def read(folder: Path, content: bytes, name: str = "model.safetensors") -> Header:
    path = folder / name
    path.write_bytes(content)
    return read_header(path)


def test_safetensors_are_described(tmp_path: Path) -> None:
    """Names, types, shapes and places, as the library itself reads them."""
    header = read(tmp_path, VALID)
    found = {tensor.name: tensor for tensor in header.tensors}
    assert (found["a"].dtype, found["a"].shape, found["a"].num_elements) == ("F32", (2, 3), 6)
    raw = VALID[found["a"].begin : found["a"].end]
    assert np.frombuffer(raw, np.float32).tolist() == [0, 1, 2, 3, 4, 5]
    assert header.metadata == {"format": "mlx"}


OVERLAP = {"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}
LIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "too few"),
    "short": (b"\x01\x00", "too few"),
    "header of 2**63 bytes": (struct.pack("<Q", 1 << 63) + b"{}", "a header of"),
    "header of 99 MB in a short file": (struct.pack("<Q", 99 << 20) + b"{}", "a header of"),
    "not JSON": (safetensors(b"{nonsense"), "not JSON"),
    "a list": (safetensors([1]), "not a JSON object"),
    "UTF-16": (safetensors('{"a": 1}'.encode("utf-16-le")), "not JSON"),
    "depth bomb": (safetensors(b'{"a":' + b"[" * 200_000), "not JSON"),
    "number bomb": (safetensors(b'{"a":' + b"9" * 5000 + b"}"), "not JSON"),
    "half a surrogate pair": (safetensors(b'{"\\ud800": 1}'), "not JSON"),
    "the same name twice": (
        safetensors(b'{"a":' + json.dumps(tensor([1], 0, 4)).encode() + b',"a":{}}', b"1234"),
        "twice",
    ),
    "the same key twice inside": (safetensors(b'{"a":{"shape":[],"shape":[1]}}'), "twice"),
    "no data": (safetensors({"a": tensor([1000, 1000], 0, 4_000_000)}), "of"),
    "too little data": (safetensors({"a": tensor([1000, 1000], 0, 4)}, b"1234"), "fill its bytes"),
    "a product that wraps to 0": (safetensors({"a": tensor([65536] * 4, 0, 0)}), "fill its bytes"),
    "negative shape": (safetensors({"a": tensor([-1, -1], 0, 4)}, b"1234"), "impossible"),
    "offsets near 2**64": (safetensors({"a": tensor([1], (1 << 64) - 4, 0)}), "impossible"),
    "reversed offsets": (safetensors({"a": tensor([1], 4, 0)}, b"1234"), "fill its bytes"),
    "a fraction": (safetensors({"a": tensor([1.0], 0, 4)}, b"1234"), "impossible"),
    "a truth value": (safetensors({"a": tensor([True], 0, 4)}, b"1234"), "impossible"),
    "an infinity": (safetensors({"a": tensor([float("inf")], 0, 4)}, b"1234"), "impossible"),
    "nine dimensions": (safetensors({"a": tensor([1] * 9, 0, 4)}, b"1234"), "impossible"),
    "an unknown type": (safetensors({"a": tensor([1], 0, 4, "F33")}, b"1234"), "unknown type"),
    "a key too many": (safetensors({"a": tensor([1], 0, 4) | {"x": 1}}, b"1234"), "unknown way"),
    "no description": (safetensors({"a": 1}), "unknown way"),
    "overlap": (safetensors(OVERLAP, b"1" * 12), "overlaps"),
    "the same bytes": (
        safetensors({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, b"1234"),
        "overlaps",
    ),
    "a hole": (safetensors({"a": tensor([1], 4, 8)}, b"1" * 8), "hole"),
    "bytes at the end": (VALID + b"x", "end at byte"),
    "a byte less": (VALID[:-1], "end at byte"),
    "metadata of numbers": (safetensors({"__metadata__": {"a": 1}}), "map of strings"),
    "metadata in a list": (safetensors({"__metadata__": ["a"]}), "map of strings"),
}


@pytest.mark.parametrize("lie", LIES)
def test_safetensors_that_lie_are_refused(tmp_path: Path, lie: str) -> None:
    """Each contradiction is named, with the file's name before it."""
    content, reason = LIES[lie]
    with pytest.raises(BrokenWeights, match=rf"model\.safetensors is broken: .*{reason}"):
        read(tmp_path, content)


def test_too_many_tensors_are_refused(tmp_path: Path) -> None:
    """A header within its size can still hold more names than any model has."""
    many = {str(number): tensor([0], 0, 0) for number in range(100_001)}
    with pytest.raises(BrokenWeights, match="100001 tensors"):
        read(tmp_path, safetensors(many))


def test_messages_are_fit_to_print(tmp_path: Path) -> None:
    """A name out of a file brings no control characters and no megabytes into a message."""
    with pytest.raises(BrokenWeights) as error:
        read(tmp_path, safetensors({"\x1b[2J" + "x" * 100_000: 1}))
    assert str(error.value).isprintable() and len(str(error.value)) < 300


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf"])
def test_only_files_are_read(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    """A pipe would be waited for, for ever."""
    make(tmp_path / name)
    with pytest.raises(BrokenWeights, match="not a regular file"):
        read_header(tmp_path / name)


def test_any_damage_of_safetensors_is_found_or_harmless(tmp_path: Path) -> None:
    """BrokenWeights or a header; what passes is what the library of the format reads, too."""

    @settings(max_examples=500, deadline=None)
    @given(mutated(VALID))
    def damage(content: bytes) -> None:
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        try:
            header = read_header(path)
        except BrokenWeights:
            return
        with safe_open(path, "np") as file:
            assert {tensor.name for tensor in header.tensors} == set(file.keys())
            for tensor in header.tensors:
                part = file.get_slice(tensor.name)
                assert list(tensor.shape) == part.get_shape()
                assert tensor.dtype == part.get_dtype()

    damage()
