"""What becomes of a GGUF's weights: which are kept as they are packed, and which become others."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from registry.checkpoint.weights import Tensor
from registry.convert_messages import Work
from registry.errors import ConversionFailed

from .affine import PACKINGS, is_exact
from .file import GgufFile

FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
NEAREST_BITS, NEAREST_GROUP = 8, 32  # of `affine.nearest`, for types that MLX cannot hold

# For files whose matrices are of no half type. Qwen's activations exceed float16's range.
_HALF_TYPES = {"smollm3": "bfloat16", "qwen2": "bfloat16", "qwen3": "bfloat16"}
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Storage:
    """How one tensor is stored."""

    dtype: str  # of its numbers; of its scales and biases at most, where it is packed
    bits: int | None = None  # None: it is not packed
    group_size: int = 32
    is_kept: bool = False  # packed as the file has it, every number what it was

    def num_bytes(self, tensor: Tensor) -> int:
        """What the tensor will take on disk, at most."""
        if self.bits is None:
            return tensor.num_elements * _BYTES[self.dtype]
        num_groups = tensor.num_elements // self.group_size
        return tensor.num_elements * self.bits // 8 + num_groups * 2 * _BYTES[self.dtype]

    def quantization(self) -> dict[str, Any]:
        """Of a packed tensor, as mlx-lm reads it in config.json."""
        return {"group_size": self.group_size, "bits": self.bits, "mode": "affine"}


def compute_dtype(file: GgufFile, work: Work) -> str:
    """The dtype asked for; or that of the file's matrices, or one that suits the family."""
    if work.dtype is not None:
        return work.dtype
    dtypes = {tensor.dtype for tensor in file.tensors.values() if len(tensor.shape) > 1}
    if dtypes == {"F32"} and work.bits is None:
        return "float32"
    if "BF16" in dtypes:
        return "bfloat16"
    return "float16" if dtypes == {"F16"} else _HALF_TYPES.get(file.architecture, "float16")


def storage_of(file: GgufFile, tensor: Tensor, work: Work) -> Storage:
    """How the tensor is stored. Raises BrokenWeights if its numbers have to be looked at."""
    dtype = compute_dtype(file, work)
    is_matrix = len(tensor.shape) > 1 and not file.is_encoder
    if work.bits is not None and is_matrix and tensor.shape[-1] % work.group_size == 0:
        packing = PACKINGS.get(tensor.dtype)
        if packing and (packing.bits, packing.group_size) == (work.bits, work.group_size):
            return _kept(tensor)
        return Storage(dtype, work.bits, work.group_size)
    if work.dtype is not None or file.is_encoder:
        return Storage(dtype)
    if tensor.dtype in FLOATS:
        return Storage(_plain_dtype(file, tensor, dtype))
    if tensor.dtype in PACKINGS:
        return _kept(tensor)
    return Storage("float16", NEAREST_BITS, NEAREST_GROUP)


def _kept(tensor: Tensor) -> Storage:
    packing = PACKINGS[tensor.dtype]
    dtype = "float16" if packing.has_half_scales else "float32"
    return Storage(dtype, packing.bits, packing.group_size, is_kept=True)


def _plain_dtype(file: GgufFile, tensor: Tensor, dtype: str) -> str:
    """The tensor's own dtype, or a shorter one that holds each of its numbers exactly."""
    if tensor.dtype != "F32" or dtype == "float32":
        return FLOATS[tensor.dtype]
    return dtype if all(is_exact(block, dtype) for block in file.blocks(tensor)) else "float32"


def refuse_second_packing(file: GgufFile, bits: int | None) -> None:
    """Raises ConversionFailed for so few bits of weights that have no more than that already.

    Such weights lie on a grid of their own, and what a second one takes away is not little: the
    real SmolLM2 of 4 bits, packed in 4 bits once more, answers nonsense. Into 8 bits all fit.
    """
    if bits is None or bits == 8:
        return
    for tensor in file.tensors.values():
        if tensor.dtype in FLOATS or len(tensor.shape) == 1:
            continue
        own_bits = int(re.findall(r"\d", tensor.dtype)[0])  # that is how ggml names its types
        if own_bits <= bits:
            raise ConversionFailed(
                f"{file.name} is packed in {own_bits} bits already ({tensor.dtype}), and packing "
                f"it in {bits} bits once more would spoil it. Leave out bits, and it is kept as "
                "it is; or take a file of more bits."
            )


@dataclass(slots=True)
class Loss:
    """By how much numbers were moved, measured while they were."""

    squares: float = 0.0  # of what they were moved by
    out_of: float = 0.0  # of what they were

    def add(self, values: mx.array, stored: mx.array) -> None:
        """Count numbers and what is stored in their place."""
        values = values.astype(mx.float32)
        self.squares += float((stored.astype(mx.float32) - values).square().sum())
        self.out_of += float(values.square().sum())


def described(
    file: GgufFile, storages: dict[str, Storage], losses: dict[str, Loss]
) -> tuple[str, ...]:
    """A line for each type of the file's weights: what it became, and what that moved (rms)."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for name, storage in storages.items():
        kind = file.tensors[name].dtype
        form = storage.dtype
        if storage.bits is not None:
            form = f"{storage.bits} bits in groups of {storage.group_size}"
        is_kept = storage.is_kept or kind in FLOATS and storage.bits is None
        verb = "kept as" if is_kept else "converted to"
        grouped.setdefault((kind, verb, form), []).append(name)
    lines = []
    for (kind, verb, form), names in grouped.items():
        line = f"{kind} {verb} {form}, {len(names)} {'tensors' if len(names) > 1 else 'tensor'}"
        if out_of := sum(losses[name].out_of for name in names):
            moved = math.sqrt(sum(losses[name].squares for name in names) / out_of)
            line += f", moved by {100 * moved:.2g} %"
        lines.append(line)
    return tuple(lines)


def common_quantization(storages: Iterable[Storage]) -> dict[str, Any] | None:
    """That of most packed tensors; None if none is packed."""
    counts = Counter((s.bits, s.group_size) for s in storages if s.bits is not None)
    if not counts:
        return None
    (bits, group_size), _ = counts.most_common(1)[0]
    return Storage("", bits, group_size).quantization()
