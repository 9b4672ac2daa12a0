"""A safetensors file of any types, also those that MLX does not write, such as F8_E4M3."""

import json
import struct
from pathlib import Path

import mlx.core as mx
import numpy as np

_NAMES = {
    mx.float32: "F32",
    mx.float16: "F16",
    mx.uint8: "U8",
    mx.int8: "I8",
    mx.int32: "I32",
    mx.uint32: "U32",
    mx.int64: "I64",
}


def write_raw(path: Path, tensors: dict[str, mx.array], types: dict[str, str]) -> None:
    """Write the tensors; `types` names those whose bytes are of another type than the array's."""
    fields, parts, at = {}, [], 0
    for name, value in tensors.items():
        data = np.array(value).tobytes()
        fields[name] = {
            "dtype": types.get(name) or _NAMES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [at, at + len(data)],
        }
        parts.append(data)
        at += len(data)
    header = json.dumps(fields).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(parts))
