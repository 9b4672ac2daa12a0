"""Tests of runtime.memory.calibration: how wrong predictions were, and what follows of it."""

import pytest

from registry.checkpoint.cache_shape import CacheShape
from registry.checkpoint.model_memory import ModelMemory
from runtime.engine_messages import ChunkPass
from runtime.memory.calibration import Calibration, with_measured
from runtime.memory.prediction import pass_bytes

MEMORY = ModelMemory(1000, CacheShape(10), pass_bytes=5_000_000, pass_token_bytes=100)


def test_the_margin_follows_what_was_too_low() -> None:
    """What was told too high is an error too, but asks for no more room."""
    calibration = Calibration()
    assert calibration.error_p95 is None and calibration.margin == 0.02
    for _ in range(20):
        calibration.add(110, 100)
    assert calibration.error_p95 == pytest.approx(0.1) and calibration.margin == 0.02
    for _ in range(2):
        calibration.add(100, 125)
    assert calibration.error_p95 == pytest.approx(0.2)
    assert calibration.margin == pytest.approx(0.25)


def test_weights_hide_no_error_of_caches() -> None:
    """Of 40 GB of weights half a gigabyte is little, of the gigabyte of a row it is half."""
    calibration = Calibration()
    for _ in range(20):
        calibration.add(41_000, 41_500, weight_bytes=38_000)
    assert calibration.margin == pytest.approx(500 / 3000)
    noisy = Calibration()
    noisy.add(40_001, 40_100, weight_bytes=40_000)  # a short row, and what else MLX holds
    assert noisy.margin == pytest.approx(99 / 2000, rel=0.01)


def test_what_is_long_ago_counts_no_more() -> None:
    """Nor does an answer of an engine that told nothing."""
    calibration = Calibration()
    calibration.add(100, 200)
    for _ in range(256):
        calibration.add(100, 100)
        calibration.add(0, 0)
    assert calibration.num_samples == 256 and calibration.error_p95 == 0


@pytest.mark.parametrize("chunk_tokens", [512, 256])
def test_what_a_pass_took_is_what_it_is_told_to_take(chunk_tokens: int) -> None:
    """Half a chunk takes half as much, of scores too: what they are is told for a whole one."""
    share = chunk_tokens / 512
    took = ChunkPass(int((1_000_000 + 2048 * 100) * share), chunk_tokens, 2048)
    memory = with_measured(MEMORY, took)
    assert memory.pass_bytes == pytest.approx(1_100_000, rel=0.001)
    assert pass_bytes(memory, 2048) >= 1_000_000 + 2048 * 100


def test_little_tells_nothing_of_much() -> None:
    assert with_measured(MEMORY, ChunkPass(9_000_000, 16, 16)) == MEMORY
