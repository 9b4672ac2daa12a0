"""A strict walk of the headers of weight files, before any native reader may touch them.

Formats: https://huggingface.co/docs/safetensors and ggml's docs/gguf.md. Native readers crash on,
or silently accept, files that lie about themselves: MLX 0.32 dies on a GGUF of 35 bytes, and takes
safetensors whose shapes wrap around or whose tensors overlap.
"""

import json
import math
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from registry.errors import BrokenWeights, NotAModel

from . import lfs

_MAX_HEADER_BYTES = 32 << 20  # of safetensors; the format itself allows 100 MB
_MAX_GGUF_HEADER_BYTES = 256 << 20  # the vocabulary is in it
_MAX_TENSORS = 100_000
_MAX_KEYS = 10_000
_MAX_KEY_BYTES = 65_535
MAX_DIMS = 8

_SAFETENSORS_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2,
    "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip

FLOATS = frozenset({"BF16", "F16", "F32"})  # of which networks are made

# ggml's types by number: name, how many elements a block holds, and its bytes (ggml-common.h).
GGML_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2),
    26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip

# Layouts of Q4_0 and IQ4_NL for one processor each: llama.cpp now makes them as it loads.
_RETIRED_TYPES = {
    31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
    36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
}  # fmt: skip

_GGUF_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_GGUF_STRING, _GGUF_ARRAY = 8, 9
_MAGIC = b"GGUF"
_EXACT_TEXTS = "tokenizer."  # keys whose text is computed with: each byte of it counts

Value = str | int | float | list[str] | list[int] | list[float]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file; offsets count from the start of the file."""

    name: str
    dtype: str  # as the format spells it: "BF16", "Q4_K"
    shape: tuple[int, ...]  # the slowest dimension first
    begin: int
    end: int

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself."""

    tensors: tuple[Tensor, ...]
    metadata: dict[str, Value]


def read_header(path: Path, *, with_arrays: bool = False) -> Header:
    """The header of a .safetensors or GGUF file. Raises BrokenWeights with the reason.

    Raises NotAModel for a sound GGUF whose weights are of a type that is no longer in use, and for
    a Git LFS pointer.
    The arrays among a GGUF's metadata, such as its vocabulary, are large: they are left out unless
    they are asked for.
    """
    with _open(path) as file:
        if is_gguf(path):
            return _read_gguf(file, path.name, with_arrays)
        return _read_safetensors(file, path.name)


def is_gguf(path: Path) -> bool:
    """Whether the file is, or claims to be, a GGUF: by its first bytes, as Ollama's blobs have no
    other sign, or by its name. Raises BrokenWeights, OSError.
    """
    if path.suffix.lower() == ".gguf":
        return True
    with _open(path) as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_safetensors_json(path: Path) -> bytes:
    """The raw JSON of a .safetensors header. Raises BrokenWeights if it is too long."""
    with _open(path) as file:
        return _take_json(file, path.name)


def _open(path: Path) -> BinaryIO:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
        raise BrokenWeights(path.name, "it is not a regular file")
    lfs.check(path)
    return path.open("rb")


def quote(name: str) -> str:
    """A name out of a file, made fit for a message: no control characters, not too long."""
    return ascii(name if len(name) <= 100 else name[:100] + "...")


# --- safetensors ---------------------------------------------------------------------------------


def _read_safetensors(file: BinaryIO, name: str) -> Header:
    raw = _take_json(file, name)
    fields = _parse_json(raw, name)
    metadata = fields.pop("__metadata__", None) or {}  # MLX writes null where there is none
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BrokenWeights(name, "__metadata__ is not a map of strings")
    if len(fields) > _MAX_TENSORS:
        raise BrokenWeights(name, f"{len(fields)} tensors, over the limit of {_MAX_TENSORS}")
    start = 8 + len(raw)
    tensors = tuple(_safetensor(name, key, value, start) for key, value in fields.items())
    at, size = start, os.fstat(file.fileno()).st_size
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != at:
            kind = "overlaps another" if tensor.begin < at else "leaves a hole before it"
            raise BrokenWeights(name, f"tensor {quote(tensor.name)} {kind}")
        at = tensor.end
    if at != size:
        raise BrokenWeights(name, f"tensors end at byte {at} of {size}")
    return Header(tensors, metadata)


def _take_json(file: BinaryIO, name: str) -> bytes:
    size = os.fstat(file.fileno()).st_size
    if size < 8:
        raise BrokenWeights(name, f"{size} bytes are too few for a safetensors header")
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(_MAX_HEADER_BYTES, size - 8):
        raise BrokenWeights(name, f"a header of {length} bytes in a file of {size}")
    return file.read(length)


def _parse_json(raw: bytes, name: str) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise BrokenWeights(name, "a name stands twice in the header")
        return fields

    if not raw.startswith(b"{"):
        raise BrokenWeights(name, "the header is not a JSON object")
    try:
        # Decoded first: from bytes, json.loads would also accept UTF-16.
        fields: dict[str, object] = json.loads(raw.decode(), object_pairs_hook=unique)
        "".join(fields).encode()  # fails for an escaped lone surrogate, which cannot be printed
    except (ValueError, RecursionError) as error:
        raise BrokenWeights(name, f"the header is not JSON: {error}") from None
    return fields


def _safetensor(name: str, key: str, value: object, start: int) -> Tensor:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **rest} if (
            not rest
        ):
            pass
        case _:
            raise BrokenWeights(name, f"tensor {quote(key)} is described in an unknown way")
    if dtype not in _SAFETENSORS_BYTES:
        raise BrokenWeights(name, f"tensor {quote(key)} is of the unknown type {quote(dtype)}")
    if len(shape) > MAX_DIMS or not all(_is_count(number) for number in (*shape, begin, end)):
        raise BrokenWeights(name, f"tensor {quote(key)} has an impossible shape or place")
    # Python's integers do not overflow, so no huge shape can seem to fit.
    if math.prod(shape) * _SAFETENSORS_BYTES[dtype] != end - begin:
        raise BrokenWeights(name, f"tensor {quote(key)} of shape {shape} does not fill its bytes")
    return Tensor(key, dtype, tuple(shape), start + begin, start + end)


def _is_count(number: object) -> bool:
    return type(number) is int and 0 <= number < 1 << 63


# --- GGUF ----------------------------------------------------------------------------------------


@cache
def _layout(code: str) -> struct.Struct:
    return struct.Struct("<" + code)


class _GgufReader:
    """Reads a header piece by piece, never more than the file has."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.size = os.fstat(file.fileno()).st_size
        self.at = 0
        self._end = min(self.size, _MAX_GGUF_HEADER_BYTES)

    def fail(self, reason: str) -> BrokenWeights:
        return BrokenWeights(self.name, reason)

    def take(self, count: int) -> bytes:
        if count > self._end - self.at:
            raise self.fail(f"the header wants {count} bytes at byte {self.at} of {self.size}")
        self.at += count
        return self._file.read(count)

    def number(self, code: str) -> int:
        layout = _layout(code)
        number: int = layout.unpack(self.take(layout.size))[0]
        return number

    def string(self, limit: int = _MAX_GGUF_HEADER_BYTES, errors: str = "strict") -> str:
        length = self.number("Q")
        if length > limit:
            raise self.fail(f"a string of {length} bytes at byte {self.at}")
        try:
            return self.take(length).decode(errors=errors)
        except UnicodeDecodeError:
            raise self.fail(f"a string at byte {self.at} is not UTF-8") from None

    def value(self, with_arrays: bool, errors: str) -> Value | None:
        """A metadata value; None for an array that is not asked for.

        `errors` says what becomes of bytes that are no UTF-8, as for `bytes.decode`.
        """
        kind = self.number("I")
        if kind == _GGUF_ARRAY:
            return self._array(with_arrays, errors)
        if kind == _GGUF_STRING:
            return self.string(errors=errors)
        if kind not in _GGUF_SCALARS:
            raise self.fail(f"a value of the unknown type {kind}")
        return self.number(_GGUF_SCALARS[kind])

    def _array(self, is_wanted: bool, errors: str) -> Value | None:
        kind, count = self.number("I"), self.number("Q")
        if kind in _GGUF_SCALARS:
            code = _GGUF_SCALARS[kind]
            raw = self.take(count * struct.calcsize("<" + code))
            return list(struct.unpack(f"<{count}{code}", raw)) if is_wanted else None
        if kind != _GGUF_STRING:
            raise self.fail(f"an array of the unknown type {kind}")
        if count > self.size // 8:
            raise self.fail(f"an array of {count} strings in a file of {self.size} bytes")
        if is_wanted:
            return [self.string(errors=errors) for _ in range(count)]
        for _ in range(count):
            self.take(self.number("Q"))
        return None


def _read_gguf(file: BinaryIO, name: str, with_arrays: bool) -> Header:
    reader = _GgufReader(file, name)
    if (magic := reader.take(4)) != _MAGIC:
        raise reader.fail(f"it starts with {magic!r}, not with GGUF")
    if (version := reader.number("I")) not in (2, 3):
        raise reader.fail(f"GGUF version {version}; 2 and 3 are read, in little-endian order")
    num_tensors, num_keys = reader.number("Q"), reader.number("Q")
    if num_tensors > _MAX_TENSORS or num_keys > _MAX_KEYS:
        raise reader.fail(f"{num_tensors} tensors and {num_keys} keys are too many")
    metadata: dict[str, Value] = {}
    keys = set()
    for _ in range(num_keys):
        key = reader.string(_MAX_KEY_BYTES)
        if key in keys:
            raise reader.fail(f"the key {quote(key)} stands twice")
        keys.add(key)
        # A description cut off in the middle of a character must not condemn a sound model.
        errors = "strict" if key.startswith(_EXACT_TEXTS) else "replace"
        if (value := reader.value(with_arrays, errors)) is not None:
            metadata[key] = value
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 8 <= alignment <= 65536 or alignment & (alignment - 1):
        raise reader.fail(f"general.alignment is {alignment!r}; a power of two is wanted")
    places = [_gguf_place(reader) for _ in range(num_tensors)]
    if len({key for key, *_ in places}) != len(places):
        raise reader.fail("a tensor stands twice")
    start = -(-reader.at // alignment) * alignment
    tensors = tuple(
        Tensor(key, dtype, shape, start + offset, start + offset + length)
        for key, dtype, shape, offset, length in places
    )
    _check_gguf_places(reader, tensors, alignment, start)
    return Header(tensors, metadata)


def _gguf_place(reader: _GgufReader) -> tuple[str, str, tuple[int, ...], int, int]:
    """A tensor's name, type, shape, offset and bytes."""
    key, num_dims = reader.string(_MAX_KEY_BYTES), reader.number("I")
    if not 1 <= num_dims <= 4:
        raise reader.fail(f"tensor {quote(key)} has {num_dims} dimensions")
    shape = tuple(reader.number("Q") for _ in range(num_dims))[::-1]  # the file has it reversed
    kind, offset = reader.number("I"), reader.number("Q")
    if (retired := _RETIRED_TYPES.get(kind)) is not None:
        raise NotAModel(
            f"{reader.name} has weights of the type {retired}, which llama.cpp has retired: take "
            f"the {retired[:-4]} of the same model, which it was made from."
        )
    if kind not in GGML_TYPES:
        raise reader.fail(f"tensor {quote(key)} is of the unknown ggml type {kind}")
    dtype, per_block, block_bytes = GGML_TYPES[kind]
    if 0 in shape:
        raise reader.fail(f"tensor {quote(key)} is empty")
    if shape[-1] % per_block:
        raise reader.fail(f"tensor {quote(key)} has rows of {shape[-1]}, not of {per_block}s")
    return key, dtype, shape, offset, math.prod(shape) // per_block * block_bytes


def _check_gguf_places(
    reader: _GgufReader, tensors: Iterable[Tensor], alignment: int, start: int
) -> None:
    at = start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if (tensor.begin - start) % alignment:
            raise reader.fail(f"tensor {quote(tensor.name)} is not aligned to {alignment} bytes")
        if tensor.begin < at:
            raise reader.fail(f"tensor {quote(tensor.name)} overlaps another")
        if tensor.end > reader.size:
            raise reader.fail(
                f"tensor {quote(tensor.name)} ends at byte {tensor.end} of {reader.size}"
            )
        at = tensor.end
