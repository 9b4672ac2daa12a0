"""Tests of runtime.memory.prediction: what a model and its rows will take."""

import pytest

from registry.checkpoint.cache_shape import CacheShape, Window
from registry.checkpoint.model_memory import ModelMemory
from runtime.memory.prediction import longest_row, pass_bytes, predict, room_bytes

MEMORY = ModelMemory(
    weight_bytes=1_000_000,
    cache=CacheShape(100, (Window(512, 10),)),
    process_bytes=50_000,
    pass_bytes=2_000,
    pass_token_bytes=3,
)


def test_a_prediction_names_its_parts() -> None:
    """Without rows there is no pass; with some, the longest decides what a pass takes."""
    empty = predict(MEMORY)
    assert (empty.cache, empty.activations, empty.total) == (0, 0, 1_050_000)
    told = predict(MEMORY, [1000, 4000])
    assert told.cache == 2 * (4255 * 100 + 512 * 10)
    assert told.activations == pass_bytes(MEMORY, 4000) == 512 * 10 + 2_000 + 4000 * 3
    assert told.held == 1_000_000 + told.cache
    assert told.total == told.held + told.activations + 50_000


def test_room_is_what_is_neither_used_nor_promised() -> None:
    assert room_bytes(100, 60, 30) == 10
    assert room_bytes(100, 60, 50) == -10


@pytest.mark.parametrize("num_tokens", [1, 1000, 131_072])
def test_the_longest_row_is_the_last_that_fits(num_tokens: int) -> None:
    room = predict(MEMORY, [num_tokens]).total
    assert longest_row(MEMORY, room) == num_tokens
    assert longest_row(MEMORY, room - 1) == num_tokens - 1
    assert longest_row(MEMORY, 1_000_000) == 0
