"""Tests of convert.gguf.affine: MLX reads from groups the numbers that gguf reads from blocks."""

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize

from registry.convert.gguf.affine import PACKINGS, Groups, is_exact, nearest
from tests.models.gguf_blocks import random_rows


def numbers(
    groups: Groups, group_size: int, bits: int, scales: mx.Dtype = mx.float32
) -> npt.NDArray[np.float32]:
    """What MLX takes the groups for, with scales and biases stored in a dtype."""
    weight, scale, bias = mx.array(groups.weight), mx.array(groups.scales), mx.array(groups.biases)
    scale, bias = (part.astype(scales).astype(mx.float32) for part in (scale, bias))
    return np.array(mx.dequantize(weight, scale, bias, group_size, bits))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", PACKINGS)
def test_every_number_is_kept(kind: str, seed: int) -> None:
    """Exactly, with scales of the dtype that is said to hold them."""
    packing = PACKINGS[kind]
    rows = random_rows(kind, 7, 1024, seed)
    expected = dequantize(rows, GGMLQuantizationType[kind])
    groups = packing.read(rows)
    assert groups.weight.shape == (7, 1024 * packing.bits // 32)
    assert groups.scales.shape == groups.biases.shape == (7, 1024 // packing.group_size)
    dtype = mx.float16 if packing.has_half_scales else mx.float32
    assert np.array_equal(numbers(groups, packing.group_size, packing.bits, dtype), expected)
    if not packing.has_half_scales:
        assert not is_exact(groups.scales, "float16")


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K"])
@pytest.mark.parametrize("fill", [0, 255])
def test_extreme_blocks(kind: str, fill: int) -> None:
    """A block of zeros, whose scale is zero, and one of the largest codes."""
    rows = random_rows(kind, 2, 256)
    half_bytes = 4 if kind in ("Q4_1", "Q5_1", "Q4_K", "Q5_K") else 2
    blocks = rows.reshape(2, 256 // (256 if kind.endswith("K") else 32), -1)
    blocks[..., half_bytes:] = fill
    if fill == 0:
        blocks[...] = 0
    packing = PACKINGS[kind]
    found = numbers(packing.read(rows), packing.group_size, packing.bits)
    assert np.array_equal(found, dequantize(rows, GGMLQuantizationType[kind]))


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [("Q6_K", 0.005), ("Q2_K", 0.005), ("IQ3_S", 0.005), ("IQ2_XS", 0.005), ("IQ1_S", 0.005)],
)
def test_what_has_no_equal_goes_to_the_nearest(kind: str, tolerance: float) -> None:
    """In 8 bits, off by less than half a percent (rms); scales are float16 numbers already."""
    expected = dequantize(random_rows(kind, 64, 1024), GGMLQuantizationType[kind])
    groups = nearest(expected)
    assert is_exact(groups.scales, "float16") and is_exact(groups.biases, "float16")
    found = numbers(groups, 32, 8)
    assert np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()) < tolerance
    step = np.repeat(groups.scales, 32, axis=1)
    assert (np.abs(found - expected) <= 0.51 * step).all()


@pytest.mark.parametrize("value", [0.0, 1.5, -1e-6, 3e-8])
def test_the_nearest_of_equal_numbers_is_that_number(value: float) -> None:
    """A group without a range divides by nothing."""
    values = np.full((1, 32), value, np.float32)
    assert np.allclose(numbers(nearest(values), 32, 8), values, atol=6e-8)


def test_which_numbers_a_shorter_dtype_holds() -> None:
    """Those that come back from it unchanged."""

    def floats(*values: float) -> npt.NDArray[np.float32]:
        return np.array(values, np.float32)

    assert is_exact(floats(1.5, -(2.0**-24), 65504), "float16")
    assert not is_exact(floats(1.5, 65536), "float16")
    assert is_exact(floats(1.5, 2.0**100), "bfloat16")
    assert not is_exact(floats(1 + 2.0**-8), "bfloat16")
