"""Tests of registry.checkpoint.weights: GGUF files that lie are found out, without native code."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES
from hypothesis import given, settings

from registry.checkpoint.weights import GGML_TYPES, is_gguf, read_header
from registry.errors import BrokenWeights, NotAModel
from tests.registry.damage import KILLER, mutated


def gguf_string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf_file(
    num_tensors: int = 0, num_keys: int = 0, rest: bytes = b"", version: int = 3
) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_keys) + rest


def place(name: bytes, shape: list[int], kind: int, offset: int) -> bytes:
    dims = struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", dim) for dim in shape)
    return gguf_string(name) + dims + struct.pack("<IQ", kind, offset)


def tensors(*places: bytes, data: bytes = bytes(64)) -> bytes:
    content = gguf_file(len(places), rest=b"".join(places))
    return content + bytes(-len(content) % 32) + data


A_KEY = gguf_string(b"k") + struct.pack("<II", 4, 7)
GGUF_LIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "wants 4 bytes"),
    "the magic only": (b"GGUF", "wants 4 bytes"),
    "another magic": (b"GGML" + bytes(20), "not with GGUF"),
    "version 1": (gguf_file(version=1), "version 1"),
    "big-endian": (gguf_file(version=0x03000000), "little-endian"),
    "what kills MLX": (KILLER, "a string of 4611686018427387904 bytes"),
    "2**60 tensors": (gguf_file(1 << 60), "too many"),
    "2**60 keys": (gguf_file(0, 1 << 60), "too many"),
    "a key twice": (gguf_file(0, 2, A_KEY * 2), "twice"),
    "an unknown value": (gguf_file(0, 1, gguf_string(b"k") + struct.pack("<I", 13)), "type 13"),
    "an array of arrays": (
        gguf_file(0, 1, gguf_string(b"k") + struct.pack("<IIQ", 9, 9, 1)),
        "array of the unknown type 9",
    ),
    "2**61 numbers": (
        gguf_file(0, 1, gguf_string(b"k") + struct.pack("<IIQ", 9, 4, 1 << 61)),
        "wants",
    ),
    "2**61 strings": (
        gguf_file(0, 1, gguf_string(b"k") + struct.pack("<IIQ", 9, 8, 1 << 61)),
        "an array of",
    ),
    "a key that is no text": (gguf_file(0, 1, gguf_string(b"\xff") + bytes(8)), "not UTF-8"),
    "alignment 0": (
        gguf_file(0, 1, gguf_string(b"general.alignment") + struct.pack("<II", 4, 0)),
        "power of two",
    ),
    "alignment 48": (
        gguf_file(0, 1, gguf_string(b"general.alignment") + struct.pack("<II", 4, 48)),
        "power of two",
    ),
    "alignment of 2**31": (
        gguf_file(0, 1, gguf_string(b"general.alignment") + struct.pack("<II", 4, 1 << 31)),
        "power of two",
    ),
    "a tensor twice": (tensors(place(b"a", [4], 0, 0), place(b"a", [4], 0, 32)), "twice"),
    "no dimension": (tensors(place(b"a", [], 0, 0)), "0 dimensions"),
    "five dimensions": (tensors(place(b"a", [1] * 5, 0, 0)), "5 dimensions"),
    "nothing in it": (tensors(place(b"a", [4, 0], 0, 0)), "is empty"),
    "an unknown type": (tensors(place(b"a", [4], 4, 0)), "unknown ggml type 4"),
    "half a block": (tensors(place(b"a", [16], 8, 0)), "rows of 16, not of 32s"),
    "not aligned": (tensors(place(b"a", [4], 0, 4)), "not aligned"),
    "offset 2**40": (tensors(place(b"a", [4], 0, 1 << 40)), "ends at byte"),
    "overlap": (tensors(place(b"a", [16], 0, 0), place(b"b", [4], 0, 32)), "overlaps"),
    "Q4_0 of 65536 x 65536": (tensors(place(b"a", [65536, 65536], 2, 0)), "ends at byte"),
    "a product that wraps": (tensors(place(b"a", [1 << 32, 1 << 32], 0, 0)), "ends at byte"),
}


@pytest.mark.parametrize("lie", GGUF_LIES)
def test_gguf_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    """Each contradiction is named; nothing is allocated because a file asks for it."""
    content, reason = GGUF_LIES[lie]
    for with_arrays in (False, True):
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        with pytest.raises(BrokenWeights, match=rf"model\.gguf is broken: .*{reason}"):
            read_header(path, with_arrays=with_arrays)


def valid_gguf(path: Path) -> bytes:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("a.number", 7)
    writer.add_float32("a.fraction", 0.5)
    writer.add_bool("a.truth", True)
    writer.add_array("some.strings", ["x", "yy", "日本"])
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_tensor("plain", np.arange(6, dtype=np.float32).reshape(2, 3))
    packed = gguf.quants.quantize(np.ones((2, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("packed", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_gguf_is_described(tmp_path: Path) -> None:
    """Metadata, types, shapes and places; arrays where they are asked for."""
    content = valid_gguf(tmp_path / "model.gguf")
    header = read_header(tmp_path / "model.gguf", with_arrays=True)
    assert header.metadata == {
        "general.architecture": "llama",
        "a.number": 7,
        "a.fraction": 0.5,
        "a.truth": 1,
        "some.strings": ["x", "yy", "日本"],
        "some.numbers": [1, 2, 3],
    }
    plain, packed = header.tensors
    assert (plain.name, plain.dtype, plain.shape) == ("plain", "F32", (2, 3))
    raw = content[plain.begin : plain.end]
    assert np.frombuffer(raw, np.float32).tolist() == [0, 1, 2, 3, 4, 5]
    assert (packed.dtype, packed.shape, packed.end - packed.begin) == ("Q8_0", (2, 64), 136)
    short = read_header(tmp_path / "model.gguf")
    assert short.tensors == header.tensors and "some.strings" not in short.metadata


def test_all_types_of_ggml_are_known() -> None:
    """The table says of each type what llama.cpp's own package says."""
    known = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    assert GGML_TYPES == known


def test_a_gguf_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    """Ollama's blobs are called by their hashes, and some people's files .GGUF."""
    content = valid_gguf(tmp_path / "model.gguf")
    for name in ("sha256-970aa74c0a90", "MODEL.GGUF", "model"):
        (tmp_path / name).write_bytes(content)
        assert is_gguf(tmp_path / name)
        assert len(read_header(tmp_path / name).tensors) == 2
    (tmp_path / "other").write_bytes(b"GGM")
    assert not is_gguf(tmp_path / "other")


@pytest.mark.parametrize(("number", "name"), [(31, "Q4_0_4_4"), (33, "Q4_0_8_8"), (36, "IQ4_NL_")])
def test_retired_types_are_called_so(tmp_path: Path, number: int, name: str) -> None:
    """The file is not broken: it was sound when it was made, and says what to take instead."""
    (tmp_path / "model.gguf").write_bytes(tensors(place(b"a", [32], number, 0)))
    with pytest.raises(NotAModel, match=f"{name}.*which llama.cpp has retired: take the"):
        read_header(tmp_path / "model.gguf")


def test_text_that_nobody_computes_with_may_be_damaged(tmp_path: Path) -> None:
    """A byte that is no UTF-8 is replaced there; in the vocabulary or the template it counts."""

    def with_text(key: str) -> Path:
        writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
        writer.add_string(key, "caf#")
        writer.add_array(f"{key}s", ["a", "caf#"])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        content = (tmp_path / "model.gguf").read_bytes()
        (tmp_path / "model.gguf").write_bytes(content.replace(b"caf#", b"caf\xe9"))
        return tmp_path / "model.gguf"

    metadata = read_header(with_text("general.description"), with_arrays=True).metadata
    assert metadata["general.description"] == "caf\ufffd"
    assert metadata["general.descriptions"] == ["a", "caf\ufffd"]
    with pytest.raises(BrokenWeights, match="not UTF-8"):
        read_header(with_text("tokenizer.chat_template"))


def test_any_damage_of_gguf_is_found_or_harmless(tmp_path: Path) -> None:
    """BrokenWeights or a header; what passes is what llama.cpp's package reads, too."""
    valid = valid_gguf(tmp_path / "valid.gguf")

    @settings(max_examples=500, deadline=None)
    @given(mutated(valid))
    def damage(content: bytes) -> None:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        try:
            header = read_header(path, with_arrays=True)
        except (BrokenWeights, NotAModel):
            return
        reader = gguf.GGUFReader(path)
        assert [
            (tensor.name, tensor.dtype, list(tensor.shape)[::-1], tensor.begin)
            for tensor in header.tensors
        ] == [
            (tensor.name, tensor.tensor_type.name, tensor.shape.tolist(), tensor.data_offset)
            for tensor in reader.tensors
        ]
        assert all(tensor.end <= len(content) for tensor in header.tensors)

    damage()
