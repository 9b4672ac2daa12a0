"""Tests of rows with one and the same prompt: it is read once, and each answers as if alone."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from runtime.engine.batch.batch import Batch
from runtime.events import Failed, Prefill, SetAside
from runtime.requests import SamplingParams
from tests.runtime.engine.numbers import (
    GREEDY,
    Recording,
    load,
    prompts,
    row,
    run,
    run_alone,
    tokens_of,
)

ARCHITECTURES = ["llama", "gemma3", "mamba2", "lfm2", "llama4", "llama_kv4"]
SAMPLINGS = [
    GREEDY,
    *(SamplingParams(seed=seed) for seed in range(4)),
    SamplingParams(0.8, 0.9, seed=4),
    SamplingParams(seed=5, top_k=7, repetition_penalty=1.3),
    SamplingParams(seed=6, frequency_penalty=1),
]


def tokens_read(model: Recording) -> int:
    """Of prompts, and in how many rows: what is decoded comes one by one."""
    return sum(rows * tokens for rows, tokens in model.shapes if tokens > 1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("length", [1, 3, 5, 150])
def test_eight_answers_to_one_prompt_take_one_reading(
    tmp_path: Path, architecture: str, length: int
) -> None:
    """And they are those of rows alone, whatever kind of cache was copied; beside another row."""
    model = Recording(load(tmp_path, architecture))
    prompt, other = prompts([length, 40])
    batch = Batch(model, prefill_chunk_tokens=64, stall_limit_s=60)
    batch.add(row(8, other, 12))
    for number, sampling in enumerate(SAMPLINGS):
        batch.add(row(number, prompt, 12, sampling))
    drawn = run(batch)
    assert tokens_read(model) - len(other) + 1 == (length - 1 if length > 2 else 0)
    for number, sampling in enumerate(SAMPLINGS):
        assert drawn[number] == run_alone(model, prompt, 12, sampling)
    assert drawn[8] == run_alone(model, other, 12)
    assert len({tuple(drawn[number]) for number in range(5)}) == 5


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_who_leaves_takes_no_reading_along(tmp_path: Path, gone: int) -> None:
    """Be it the one whose prompt is read, or one that waits for it; and who comes late joins in."""
    model = Recording(load(tmp_path, "llama"))
    (prompt,) = prompts([300])
    batch = Batch(model, prefill_chunk_tokens=64, stall_limit_s=60)
    for number in range(3):
        batch.add(row(number, prompt, 6, SAMPLINGS[number]))
    events = batch.step()
    assert {event.id: event.done for event in events if isinstance(event, Prefill)} == {
        0: 64,
        1: 64,
        2: 64,
    }
    batch.add(row(3, prompt, 6, SAMPLINGS[3]))
    (aside,) = batch.set_aside(gone) or []
    assert aside == SetAside(gone, [])
    drawn = run(batch)
    assert tokens_read(model) == 299
    assert drawn == {
        number: run_alone(model, prompt, 6, SAMPLINGS[number])
        for number in range(4)
        if number != gone
    }


def test_all_leave_and_nothing_is_left(tmp_path: Path) -> None:
    """The next one begins at the beginning."""
    model = Recording(load(tmp_path, "llama"))
    (prompt,) = prompts([200])
    batch = Batch(model, prefill_chunk_tokens=64, stall_limit_s=60)
    for number in range(3):
        batch.add(row(number, prompt, 6))
    batch.step()
    for number in (1, 0, 2):
        assert batch.remove(number) == []
    assert batch.num_rows == 0 and batch.cache_bytes == 0
    batch.add(row(3, prompt, 6))
    assert run(batch)[3] == run_alone(load(tmp_path, "llama"), prompt, 6)


def test_who_goes_on_is_read_with_what_it_drew(tmp_path: Path) -> None:
    """It has more to read than its prompt, so it is nobody's twin."""
    model = load(tmp_path, "llama")
    (prompt,) = prompts([50])
    expected = run_alone(model, prompt, 9)
    batch = Batch(model, stall_limit_s=60)
    batch.add(row(0, prompt, 9))
    going_on = row(1, [*prompt, *expected[:3]], 9)
    going_on.follower.replay(expected[:3])
    going_on.num_replayed = going_on.num_drawn = 3
    batch.add(going_on)
    assert run(batch) == {0: expected, 1: expected[3:]}


def test_a_prompt_that_breaks_the_model_ends_its_twins(tmp_path: Path) -> None:
    """Each is told once, and the next prompt is read as ever."""

    class Fragile(Recording):
        def __call__(self, inputs: mx.array, cache: Any) -> mx.array:
            if 399 in inputs.flatten().tolist():  # type: ignore[operator]
                raise RuntimeError("out of order")
            return super().__call__(inputs, cache)

    model = Fragile(load(tmp_path, "llama"))
    batch = Batch(model, stall_limit_s=60)
    for number in range(3):
        batch.add(row(number, [4, 399, 5, 6, 7, 8], 3))
    failed = [event.id for event in batch.step() if isinstance(event, Failed)]
    assert failed == [0, 1, 2] and batch.num_rows == 0
    batch.add(row(3, [4, 5, 6], 3))
    assert run(batch)[3] == run_alone(model, [4, 5, 6], 3)


def test_a_background_prompt_that_somebody_waits_for_is_urgent(tmp_path: Path) -> None:
    """An interactive twin has it read before other background prompts."""
    batch = Batch(load(tmp_path, "llama"), prefill_chunk_tokens=8, stall_limit_s=60)
    short, long = prompts([30, 200])
    for number, prompt in enumerate([short, long]):
        batch.add(background := row(number, prompt, 1))
        background.priority = "background"
    batch.add(row(2, long, 1))
    read: list[int] = []
    is_over = False
    while not is_over:
        events = batch.step()
        read += [event.id for event in events if isinstance(event, Prefill)]
        is_over = 2 in dict(tokens_of(events))
    assert read.count(1) == read.count(2) > 2 * read.count(0)
