"""Tests of runtime.engine.batch.batch: equal to the oracle, lean in memory, fair between rows."""

import random
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.generate import generate_step

from runtime.engine.batch.batch import Batch
from runtime.engine.cache import kv_cache
from runtime.events import Prefill
from runtime.requests import SamplingParams
from tests.runtime.engine.numbers import (
    Recording,
    load,
    prompts,
    row,
    run,
    run_alone,
    tokens_of,
)

MERGEABLE = ["llama", "gemma3", "mamba2", "lfm2", "llama_kv8", "llama_kv4"]


def alone(model: Any, prompt: list[int], max_tokens: int) -> list[int]:
    """A row as mlx-lm generates it when there is no other: the measure of every batch."""
    return [
        int(token) for token, _ in generate_step(mx.array(prompt), model, max_tokens=max_tokens)
    ]


@pytest.mark.parametrize("architecture", MERGEABLE)
def test_a_mixed_batch_equals_each_row_alone(tmp_path: Path, architecture: str) -> None:
    """Greedy rows of very different length, joining and leaving, are token for token the same."""
    model = load(tmp_path, architecture)
    work = prompts([1, 5, 40, 300, 7, 700, 33, 2, 90, 1200])
    max_tokens = [40 - 3 * n % 17 for n in range(len(work))]
    batch = Batch(model, prefill_chunk_tokens=128)
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, max_tokens[number]))
    expected = [alone(model, *pair) for pair in zip(work, max_tokens, strict=True)]
    assert run(batch) == dict(enumerate(expected))


@pytest.mark.parametrize("architecture", MERGEABLE)
def test_rows_may_join_and_leave_at_any_step(tmp_path: Path, architecture: str) -> None:
    """Rows that arrive at random steps, some removed half way, equal the rows run alone."""
    model = load(tmp_path, architecture)
    generator = random.Random(5)
    work = prompts([generator.randrange(1, 120) for _ in range(14)])
    alone = [run_alone(model, prompt, 30) for prompt in work]
    batch = Batch(model, prefill_chunk_tokens=48)
    tokens: dict[int, list[int]] = {number: [] for number in range(len(work))}
    coming, removed = list(enumerate(work)), set()
    while coming or batch.num_rows:
        while coming and generator.random() < 0.4:
            number, prompt = coming.pop()
            batch.add(row(number, prompt, 30))
        for number, token in tokens_of(batch.step()):
            tokens[number].append(token)
            if number % 3 == 0 and len(tokens[number]) == 7:
                assert batch.remove(number) == []
                removed.add(number)
    assert removed == {number for number in tokens if number % 3 == 0}
    for number, expected in enumerate(alone):
        assert tokens[number] == (expected[:7] if number in removed else expected)


def test_rows_whose_caches_cannot_merge_run_side_by_side(tmp_path: Path) -> None:
    """Chunked attention has no merged cache: each row equals mlx-lm's own single generation."""
    model = load(tmp_path, "llama4")
    assert not kv_cache.is_mergeable(kv_cache.make(model))
    work = prompts([3, 50, 20])
    batch = Batch(model, prefill_chunk_tokens=16)
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, 20))
    tokens = run(batch)
    for number, prompt in enumerate(work):
        assert tokens[number] == alone(model, prompt, 20)


def test_seeded_rows_draw_the_same_in_any_company(tmp_path: Path) -> None:
    """Temperature, top_p and seed belong to the row: the batch around it changes nothing."""
    model = load(tmp_path, "llama")
    work = prompts([4, 60, 200, 9])
    samplings = [
        SamplingParams(1.0, 1.0, seed=3),
        SamplingParams(0.7, 0.9, seed=3),
        SamplingParams(0.0, 1.0, seed=3),
        SamplingParams(1.2, 0.5, seed=-9),
    ]
    together = Batch(model, prefill_chunk_tokens=64)
    for number, (prompt, sampling) in enumerate(zip(work, samplings, strict=True)):
        together.add(row(number, prompt, 25, sampling))
    tokens = run(together)
    for number, (prompt, sampling) in enumerate(zip(work, samplings, strict=True)):
        alone = Batch(model)
        alone.add(row(number, prompt, 25, sampling))
        assert run(alone)[number] == tokens[number]


def test_prompts_are_read_in_chunks_with_decode_between(tmp_path: Path) -> None:
    """Eight prompts of 4,000 tokens beside a running row: it gets a token after every chunk."""
    model = load(tmp_path, "llama")
    batch = Batch(model, prefill_chunk_tokens=512)
    batch.add(row(0, [5, 6, 7], 1000))
    while not tokens_of(batch.step()):
        pass
    for number, prompt in enumerate(prompts([4000] * 8), start=1):
        batch.add(row(number, prompt, 2))
    done: dict[int, int] = {}
    while set(done) != set(range(1, 9)) or any(done[n] < 3999 for n in done):
        before = sum(done.values())
        events = batch.step()
        assert 0 in dict(tokens_of(events))
        for event in events:
            if isinstance(event, Prefill):
                done[event.id] = min(event.done, 3999)  # the last one starts the decode
        assert sum(done.values()) - before <= 512


def test_prompts_that_are_read_together_keep_the_budget_padded(tmp_path: Path) -> None:
    """Fourteen prompts of five tokens are not padded to a fifteenth of 480: that is no chunk."""
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model, prefill_chunk_tokens=512, stall_limit_s=60)
    for number, prompt in enumerate(prompts([6] * 14 + [480])):
        batch.add(row(number, prompt, 2))
    run(batch)
    assert max(rows * tokens for rows, tokens in model.shapes) <= 512
    assert (14, 5) in model.shapes  # and yet those alike were read in one pass


def test_a_slow_machine_is_probed_with_few_tokens(tmp_path: Path) -> None:
    """The first chunk may not take so long that the engine counts as hung; then chunks double."""
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model)
    batch.add(row(0, prompts([2000])[0], 1))
    run(batch)
    chunks = [tokens for _, tokens in model.shapes if tokens > 1]
    assert chunks[0] <= 16 and all(b <= 2 * a + 1 for a, b in zip(chunks, chunks[1:], strict=False))


def test_short_prompts_pass_long_ones_but_never_starve_them(tmp_path: Path) -> None:
    """The shortest remaining prompt goes first, and yet the oldest moves on all the time."""
    model = load(tmp_path, "llama")
    batch = Batch(model, prefill_chunk_tokens=64)
    batch.add(row(0, prompts([1500])[0], 1))
    first: list[int] = []
    for number, prompt in enumerate(prompts([60] * 400), start=1):
        batch.add(row(number, prompt, 1))
        batch.add(row(1000 + number, prompt, 1))
        first += [number for number, _ in tokens_of(batch.step())]
        if 0 in first:
            break
    assert first[0] != 0
    assert 0 in first


def test_passes_are_never_so_short_that_nothing_comes_of_them(tmp_path: Path) -> None:
    """Where the time of a pass is its own, and not that of its tokens."""
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model, stall_limit_s=1e-9)
    long, short = prompts([100, 60])
    batch.add(row(0, long, 30))
    while batch.reading:
        batch.step()
    assert model.shapes[:4] == [(1, 4), (1, 32), (1, 32), (1, 31)]
    model.shapes.clear()
    batch.add(row(1, short, 2))
    run(batch)
    assert [count for _, count in model.shapes if count > 1] == [16, 16, 16, 11]


def test_a_long_prompt_is_not_passed_over_for_short_answers(tmp_path: Path) -> None:
    """Rows that have just begun are no reason to read all short prompts beside it first."""
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model, prefill_chunk_tokens=256, stall_limit_s=60)
    long, *short = prompts([2000] + [100] * 9)
    batch.add(row(0, long, 2))
    batch.step()
    batch.add(row(1, short[0], 9))
    while len(batch.reading) > 1:
        batch.step()
    for number, prompt in enumerate(short[1:], 2):
        batch.add(row(number, prompt, 9))
    model.shapes.clear()
    batch.step()
    assert sum(rows * count for rows, count in model.shapes if count > 1) <= 256


def test_prompts_that_come_together_are_read_before_any_draws(tmp_path: Path) -> None:
    """In passes of a chunk each: few rows would take as long for their steps as all do. Rows that
    have just begun wait for them; beside others it is one chunk between two steps.
    """
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model, prefill_chunk_tokens=256, stall_limit_s=60)
    asked = dict(enumerate(prompts([100] * 18)))
    for number in range(8):
        batch.add(row(number, asked[number], 9))
    batch.step()
    assert model.shapes == [(2, 99)] * 4
    for number in range(8, 14):
        batch.add(row(number, asked[number], 9))
    model.shapes.clear()
    batch.step()
    assert model.shapes == [(8, 1), *[(2, 99)] * 3]
    for _ in range(4):
        batch.step()
    for number in range(14, 18):
        batch.add(row(number, asked[number], 9))
    model.shapes.clear()
    batch.step()
    assert model.shapes == [(14, 1), (2, 99), (1, 58)]
    for number, tokens in run(batch).items():
        assert tokens == run_alone(model, asked[number], 9)[-len(tokens) :]
