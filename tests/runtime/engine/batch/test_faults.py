"""Tests of faults in a batch's caches: each costs the rows it belongs to, and never the engine."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.cache import BatchKVCache

from runtime.engine.batch.batch import Batch
from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import GroupCache
from runtime.events import Failed, Finished, RowEvent
from tests.runtime.engine.numbers import load, prompts, row, run, run_alone, tokens_of


def last_events(batch: Batch) -> list[RowEvent]:
    """Step until no row is left. The last event of each."""
    last: list[RowEvent] = []
    while batch.num_rows:
        last += [event for event in batch.step() if isinstance(event, (Failed, Finished))]
    return last


def raises(*args: Any, **kwargs: Any) -> Any:
    raise TypeError("out of order")


@pytest.mark.parametrize(
    "place, action",
    [(kv_cache, "_merged"), (BatchKVCache, "extend"), (BatchKVCache, "filter")],
)
def test_a_fault_of_a_cache_costs_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: object, action: str
) -> None:
    """Rows that cannot be joined, or left alone, fail once each; those to come run as ever."""
    model = load(tmp_path, "llama")
    batch = Batch(model, stall_limit_s=60)
    if action != "_merged":
        for number in (0, 1):  # read together
            batch.add(row(number, prompts([9])[0], 3 + 20 * number))
        batch.step()
    for number in (2, 3):
        batch.add(row(number, prompts([9])[0], 20))
    with monkeypatch.context() as patch:
        patch.setattr(place, action, raises)
        failed = [event for event in last_events(batch) if isinstance(event, Failed)]
    assert failed and all("out of order" in event.message for event in failed)
    assert len({event.id for event in failed}) == len(failed)
    assert batch.num_rows == 0 and batch.cache_bytes == 0
    batch.add(row(9, [4, 5, 6, 7, 8], 3))
    assert run(batch)[9] == run_alone(model, [4, 5, 6, 7, 8], 3)


@pytest.mark.parametrize("num_left", [1, 2])
def test_a_cancel_that_cannot_be_carried_out_is_told_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_left: int
) -> None:
    """Not to the row that was cancelled: nobody waits for it any more."""
    batch = Batch(load(tmp_path, "llama"), stall_limit_s=60)
    for number in range(num_left + 1):
        batch.add(row(number, prompts([9])[0], 30))
    while not tokens_of(batch.step()):
        pass
    if num_left == 1:
        monkeypatch.setattr(kv_cache, "_extracted", raises)
    else:
        monkeypatch.setattr(BatchKVCache, "filter", raises)
    events = batch.remove(0)
    assert events is not None and {event.id for event in events} == set(range(1, num_left + 1))
    assert all(isinstance(event, Failed) for event in events)
    assert batch.num_rows == 0 and batch.remove(0) is None


def test_rows_that_cannot_be_split_from_each_other_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that became too unlike is split; where that fails, what was over stays over."""
    batch = Batch(load(tmp_path, "llama"), stall_limit_s=60)
    for number, prompt in enumerate(prompts([2000, 1900, 1800, 1700, 100, 100])):
        batch.add(row(number, prompt, 3 if number in (1, 2, 3) else 40))
    monkeypatch.setattr(GroupCache, "take", raises)
    last = last_events(batch)
    assert {event.id for event in last if isinstance(event, Finished)} == {1, 2, 3}
    assert {event.id for event in last if isinstance(event, Failed)} == {0, 4, 5}
    assert len(last) == 6


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "mamba2", "lfm2", "llama_kv8"])
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_short_prompts_join_and_leave(tmp_path: Path, architecture: str, length: int) -> None:
    """Prompts of one token have an empty cache, and one of two was cancelled before its first step:
    that was a TypeError on every architecture."""
    model = load(tmp_path, architecture)
    prompt = prompts([length])[0]
    alone = run_alone(model, prompt, 12)
    for num_steps in range(6):
        batch = Batch(model, stall_limit_s=60)
        for number in range(3):
            batch.add(row(number, prompt, 12))
        tokens: dict[int, list[int]] = {1: [], 2: []}
        for _ in range(num_steps):
            for number, token in tokens_of(batch.step()):
                tokens.setdefault(number, []).append(token)
        assert batch.remove(0) == []
        for number, rest in run(batch).items():
            tokens[number] += rest
        assert tokens[1] == tokens[2] == alone


def test_padding_is_a_token_of_the_rows_own(tmp_path: Path) -> None:
    """The embedding of token 0 may be all zeros, and what is computed of it not a number."""
    model = load(tmp_path, "llama")
    seen: set[int] = set()

    class Watched:
        layers = model.layers
        make_cache = staticmethod(model.make_cache)

        def __call__(self, inputs: mx.array, cache: Any) -> mx.array:
            seen.update(inputs.flatten().tolist())  # type: ignore[arg-type]
            logits: mx.array = model(inputs, cache=cache)
            return logits

    batch = Batch(Watched(), stall_limit_s=60)
    work = prompts([7, 30, 90])
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, 1))
    run(batch)
    assert seen == {token for prompt in work for token in prompt}
