"""Tests of what a batch holds: its count is what MLX holds, and no row is held or copied twice."""

import gc
from pathlib import Path

import mlx.core as mx
import pytest

from runtime.engine.batch.batch import Batch
from runtime.engine.cache.shape import shape_of
from runtime.events import Prefill
from runtime.memory.kv import row_bytes
from tests.runtime.engine.numbers import load, prompts, rooms, row, run, run_alone, tokens_of


@pytest.mark.parametrize("lengths", [[3000] * 4, [3000, 2900, 10, 900]])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "lfm2", "llama_kv8"])
def test_the_count_is_what_mlx_holds(tmp_path: Path, architecture: str, lengths: list[int]) -> None:
    """Rows that were read alone and then join a group are in memory once, and all are counted."""
    model = load(tmp_path, architecture)
    mx.eval(model.parameters())
    run_alone(model, [4, 5, 6, 7, 8], 4)  # what a first pass leaves behind is not the rows'
    gc.collect()
    before = mx.get_active_memory()
    batch = Batch(model)
    for number, prompt in enumerate(prompts(lengths)):
        batch.add(row(number, prompt, 400))
    decoding: set[int] = set()
    while len(decoding) < len(lengths):
        decoding |= {number for number, _ in tokens_of(batch.step())}
    for _ in range(8):
        batch.step()
    mx.synchronize()
    held = mx.get_active_memory() - before
    # MLX takes no copy of what it is to make contiguous where that would save less than 16 kB, and
    # quantised layers are six small arrays each.
    spared = 2 * 6 * 16_384 if "_kv" in architecture else 0
    assert batch.cache_bytes == pytest.approx(held, rel=0.02, abs=spared)
    for number in range(len(lengths)):
        batch.remove(number)
    assert batch.cache_bytes == 0


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "lfm2", "llama_kv8"])
def test_a_prompt_has_its_room_from_the_second_piece_on(tmp_path: Path, architecture: str) -> None:
    """It is not copied whole at every step in which mlx-lm's caches grow, and tells what it holds;
    what of it is kept, when nobody wants it any more, is what was read."""
    model = load(tmp_path, architecture)
    batch = Batch(model, prefill_chunk_tokens=64, prefix_cache_bytes=1 << 30)
    (prompt,) = prompts([2000])
    batch.add(row(0, prompt, 5))
    (reading,) = batch.reading
    batch.step()
    while reading.num_prefilled < 400:
        (event,) = (event for event in batch.step() if isinstance(event, Prefill))
        assert event.held_bytes == batch.cache_bytes <= row_bytes(shape_of(model), 2000)
        assert rooms(reading.cache) == {2048}
    read, whole = reading.num_prefilled, batch.cache_bytes
    batch.remove(0)
    assert batch.reuse.cache.num_tokens == read
    assert batch.reuse.cache.num_bytes < whole / 2
    again = row(1, prompt, 5)
    batch.add(again)
    if batch.reuse.cache.layers.are_full:
        assert again.num_cached == read
    assert run(batch)[1] == run_alone(model, prompt, 5)


def test_only_what_a_row_holds_itself_is_told(tmp_path: Path) -> None:
    """Twins are as far as the one that is read for them, also where that one waited for another
    and has nothing to read any more."""
    batch = Batch(load(tmp_path, "llama"), prefill_chunk_tokens=64, prefix_cache_bytes=1 << 30)
    first, more = prompts([300, 2000])
    batch.add(row(0, [*first, *more], 5))
    for number in (1, 2, 3):
        later = row(number, first, 5)
        later.priority = "background"
        batch.add(later)
    told: list[tuple[int, int | None]] = []
    while len(batch.reading) == 4 or not told:
        events = [event for event in batch.step() if isinstance(event, Prefill)]
        reading = {each.id: each.num_bytes for each in batch.reading}
        told += ((event.id, event.held_bytes) for event in events if event.id in reading)
        assert all(event.held_bytes == reading.get(event.id) for event in events)
    assert {(2, 0), (3, 0)} <= {*told}
