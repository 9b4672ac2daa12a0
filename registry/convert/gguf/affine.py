"""ggml's blocks as MLX's affine groups: the same integers, laid out and scaled as MLX wants them.

A block stands for numbers `d * q` or `d * q + m`; a group of MLX for `scale * q + bias`. Where one
fits the other, nothing is computed anew and every number stays what it was. Layouts: ggml-common.h
and the `dequantize_row_*` of ggml-quants.c.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from gguf.constants import GGMLQuantizationType
from gguf.quants import Q4_K, dequantize

Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]


class Groups(NamedTuple):
    """Some rows of a matrix as MLX packs them."""

    weight: npt.NDArray[np.uint32]  # (rows, columns * bits / 32)
    scales: Floats  # (rows, columns / group_size)
    biases: Floats


@dataclass(frozen=True, slots=True)
class Packing:
    """How the numbers of one ggml type are packed; `read` takes rows of its bytes."""

    bits: int
    group_size: int
    read: Callable[[Bytes], Groups]
    has_half_scales: bool = True  # float16 holds each scale and bias exactly


def nearest(values: Floats) -> Groups:
    """Rows of numbers in 8 bits and groups of 32, for types that no affine group holds exactly.

    Scales and biases are float16 numbers, rounded so that the group's range stays within theirs.
    """
    grouped = values.reshape(len(values), -1, 32)
    low, high = grouped.min(-1), grouped.max(-1)
    bias = _rounded(low, -np.inf)
    scale = _rounded((high - bias) / np.float32(255), np.inf)
    steps = (grouped - bias[..., None]) / np.where(scale == 0, 1, scale)[..., None]
    codes = np.rint(steps).clip(0, 255).astype(np.uint8)
    return _groups(codes, 8, scale, bias)


def is_exact(values: Floats, dtype: str) -> bool:
    """Whether the shorter dtype, float16 or bfloat16, holds each of the numbers."""
    if dtype == "bfloat16":  # the upper half of a float32
        return not (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF).any()
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())


def _rounded(numbers: Floats, towards: float) -> Floats:
    """To the next float16 number in a direction."""
    with np.errstate(over="ignore"):
        half = numbers.astype(np.float16)
    is_wrong = half > numbers if towards < 0 else half < numbers
    return np.where(is_wrong, np.nextafter(half, np.float16(towards)), half).astype(np.float32)


# --- types of 32 numbers a block -----------------------------------------------------------------


def _q4_0(raw: Bytes) -> Groups:
    blocks = _view(raw, ("d", "<f2"), ("qs", "u1", 16))
    scale = _floats(blocks["d"])
    return Groups(_words(_nibbles(blocks["qs"])), scale, scale * np.float32(-8))


def _q4_1(raw: Bytes) -> Groups:
    blocks = _view(raw, ("d", "<f2"), ("m", "<f2"), ("qs", "u1", 16))
    return Groups(_words(_nibbles(blocks["qs"])), _floats(blocks["d"]), _floats(blocks["m"]))


def _q5_0(raw: Bytes) -> Groups:
    blocks = _view(raw, ("d", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16))
    scale = _floats(blocks["d"])
    return _groups(_fifth_bits(blocks), 5, scale, scale * np.float32(-16))


def _q5_1(raw: Bytes) -> Groups:
    blocks = _view(raw, ("d", "<f2"), ("m", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16))
    return _groups(_fifth_bits(blocks), 5, _floats(blocks["d"]), _floats(blocks["m"]))


def _fifth_bits(blocks: Any) -> Bytes:
    qs = blocks["qs"]
    low: Bytes = np.concatenate([qs & 15, qs >> 4], axis=-1)
    return low | np.unpackbits(blocks["qh"], axis=-1, bitorder="little") << np.uint8(4)


def _q8_0(raw: Bytes) -> Groups:
    blocks = _view(raw, ("d", "<f2"), ("qs", "u1", 32))
    scale = _floats(blocks["d"])
    # In two's complement, adding 128 is turning over the highest bit.
    return _groups(blocks["qs"] ^ 128, 8, scale, scale * np.float32(-128))


# --- types of 256 numbers a block ----------------------------------------------------------------


def _q4_k(raw: Bytes) -> Groups:
    blocks = _view(raw, ("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qs", "u1", (4, 32)))
    return Groups(_words(_nibbles(blocks["qs"])), *_k_scales(blocks))


def _q5_k(raw: Bytes) -> Groups:
    blocks = _view(
        raw,
        *(("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12)),
        *(("qh", "u1", 32), ("qs", "u1", (4, 32))),
    )
    qs = blocks["qs"]
    low = np.stack([qs & 15, qs >> 4], axis=-2).reshape(*blocks.shape, 8, 32)
    high = blocks["qh"][..., None, :] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return _groups(low | high << 4, 5, *_k_scales(blocks))


def _k_scales(blocks: Any) -> tuple[Floats, Floats]:
    """Scale and bias of each group: products of a half and six bits, which float32 holds."""
    rows = len(blocks)
    factors, minima = Q4_K.get_scale_min(np.ascontiguousarray(blocks["scales"]).reshape(-1, 12))
    shape = (*blocks.shape, 8)
    scale = _floats(blocks["d"])[..., None] * factors.reshape(shape)
    bias = _floats(blocks["dmin"])[..., None] * minima.reshape(shape)
    return scale.reshape(rows, -1), -bias.reshape(rows, -1)


# --- types whose numbers are whole multiples of a scale ------------------------------------------


def _multiples(raw: Bytes, kind: str, bits: int, group_size: int, scale: Floats) -> Groups:
    """The multiples from half of the packed range below zero on.

    `scale` (rows, ...) has one entry for each stretch of equally many numbers of a row.
    """
    values = dequantize(raw, GGMLQuantizationType[kind])
    rows = len(values)
    scale = np.repeat(scale, values.shape[1] // group_size // scale.shape[1], axis=1)
    steps = values.reshape(rows, -1, group_size) / np.where(scale == 0, 1, scale)[..., None]
    lowest = 1 << bits - 1
    codes = (np.rint(steps) + lowest).astype(np.uint8)
    return _groups(codes, bits, scale, scale * np.float32(-lowest))


def _iq4_nl(raw: Bytes) -> Groups:
    blocks = _view(raw, ("d", "<f2"), ("qs", "u1", 16))
    return _multiples(raw, "IQ4_NL", 8, 32, _floats(blocks["d"]))


def _iq4_xs(raw: Bytes) -> Groups:
    blocks = _view(raw, ("d", "<f2"), ("high", "<u2"), ("low", "u1", 4), ("qs", "u1", 128))
    low = np.stack([blocks["low"] & 15, blocks["low"] >> 4], axis=-1).reshape(*blocks.shape, 8)
    high = blocks["high"][..., None] >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    factors = (low | high << 4).astype(np.float32) - 32
    scale = _floats(blocks["d"])[..., None] * factors
    return _multiples(raw, "IQ4_XS", 8, 32, scale.reshape(len(raw), -1))


def _mxfp4(raw: Bytes) -> Groups:
    blocks = _view(raw, ("exponent", "u1"), ("qs", "u1", 16))
    scale = np.ldexp(np.float32(1), blocks["exponent"].astype(np.int32) - 128)
    return _multiples(raw, "MXFP4", 5, 32, scale)  # the smallest number is half of 2 ** exponent


def _q3_k(raw: Bytes) -> Groups:
    blocks = _view(raw, ("rest", "u1", 108), ("d", "<f2"))
    # From -124 to 128 times d: the other way round it is what a byte in two's complement holds.
    return _multiples(raw, "Q3_K", 8, 128, -_floats(blocks["d"]))


def _tq1_0(raw: Bytes) -> Groups:
    blocks = _view(raw, ("qs", "u1", 48), ("qh", "u1", 4), ("d", "<f2"))
    return _multiples(raw, "TQ1_0", 2, 128, _floats(blocks["d"]))


def _tq2_0(raw: Bytes) -> Groups:
    blocks = _view(raw, ("qs", "u1", 64), ("d", "<f2"))
    return _multiples(raw, "TQ2_0", 2, 128, _floats(blocks["d"]))


# --- how MLX lays out codes ----------------------------------------------------------------------


def _groups(codes: Bytes, bits: int, scale: Floats, bias: Floats) -> Groups:
    """Codes (rows, ...), a byte each, as MLX packs them: one stream of bits, the lowest first."""
    packed: npt.NDArray[Any] = np.ascontiguousarray(codes)
    if bits < 8:
        # Two neighbours become one number of twice the bits, three times over: then it is eight.
        for width, dtype in ((bits, "<u2"), (2 * bits, "<u4"), (4 * bits, "<u8")):
            pairs = packed.view(dtype)
            half = pairs.itemsize * 4
            packed = pairs & (1 << width) - 1 | pairs >> half << width
        packed = packed.view(np.uint8).reshape(len(codes), -1, 8)[..., :bits]
    return Groups(_words(packed), scale, bias)


def _nibbles(qs: Bytes) -> Bytes:
    """(..., n) bytes that hold n numbers below and the next n above, as (..., 2, n / 2) bytes
    that hold neighbours.
    """
    pairs = np.ascontiguousarray(qs).view("<u2")
    low, high = pairs & 0x0F0F, pairs >> 4 & 0x0F0F
    return np.stack([low | low >> 4, high | high >> 4], axis=-2).astype(np.uint8)


def _words(packed: Bytes) -> npt.NDArray[np.uint32]:
    words: npt.NDArray[np.uint32] = (
        np.ascontiguousarray(packed)
        .reshape(len(packed), -1)
        .view("<u4")
        .astype(np.uint32, copy=False)
    )
    return words


def _view(raw: Bytes, *fields: Any) -> Any:
    """Rows of bytes as rows of blocks, each with these fields."""
    return raw.view(np.dtype(list(fields)))


def _floats(halves: Any) -> Floats:
    numbers: Floats = halves.astype(np.float32)
    return numbers


PACKINGS = {
    "Q4_0": Packing(4, 32, _q4_0),
    "Q4_1": Packing(4, 32, _q4_1),
    "Q5_0": Packing(5, 32, _q5_0),
    "Q5_1": Packing(5, 32, _q5_1),
    "Q8_0": Packing(8, 32, _q8_0),
    "Q4_K": Packing(4, 32, _q4_k, has_half_scales=False),
    "Q5_K": Packing(5, 32, _q5_k, has_half_scales=False),
    "Q3_K": Packing(8, 128, _q3_k),
    "IQ4_NL": Packing(8, 32, _iq4_nl),
    "IQ4_XS": Packing(8, 32, _iq4_xs, has_half_scales=False),
    "MXFP4": Packing(5, 32, _mxfp4),
    "TQ1_0": Packing(2, 128, _tq1_0),
    "TQ2_0": Packing(2, 128, _tq2_0),
}
