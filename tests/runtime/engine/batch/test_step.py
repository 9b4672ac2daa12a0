"""Tests of a step of engine.batch: its phases in order, how rows end, what a fault costs."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from runtime.engine.batch.batch import Batch
from runtime.engine.batch.group import DecodeGroup
from runtime.engine.cache import kv_cache
from runtime.engine.sampling.sampler import Sampler
from runtime.events import Failed, Finished
from runtime.requests import SamplingParams
from tests.runtime.engine.numbers import load, prompts, row, run, run_alone, tokens_of

PHASES = ("forward", "read", "mask", "draw")


def test_the_next_pass_is_started_before_the_last_tokens_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the GPU computes while Python puts the tokens into words, for all groups alike."""
    order: list[str] = []
    for name in PHASES:
        original = getattr(DecodeGroup, name)

        def noted(group: DecodeGroup, name: str = name, original: Any = original) -> Any:
            order.append(name)
            return original(group)

        monkeypatch.setattr(DecodeGroup, name, noted)
    batch = Batch(load(tmp_path, "llama"))
    batch.add(row(0, [4, 5, 6], 9))
    run(batch)
    assert order == [*PHASES] * 10
    order.clear()
    batch = Batch(load(tmp_path, "llama"), stall_limit_s=60)
    for number, prompt in enumerate(prompts([5, 5, 3000])):  # too unlike for one group
        batch.add(row(number, prompt, 40))
    run(batch)
    twice = [phase for phase in PHASES for _ in range(2)]
    assert twice in [order[at : at + 8] for at in range(len(order))]


class Even:
    """A guide that allows even tokens, and tells when it is asked."""

    is_free = is_over = False

    def __init__(self, trace: list[str]) -> None:
        self._trace = trace

    def take(self, token: int) -> None:
        assert token % 2 == 0

    def fill(self, words: Any) -> None:
        self._trace.append("mask")
        words[:] = 0x55555555


def test_masks_are_computed_while_the_device_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass over token n has begun before n is read; what may follow n is found out then, and
    applied to the logits where they are. So the mask of every token is there for its draw."""
    trace: list[str] = []
    for kind, name in ((mx, "async_eval"), (DecodeGroup, "read"), (Sampler, "draw")):
        original = getattr(kind, name)

        def noted(*args: Any, name: str = name, original: Any = original) -> Any:
            trace.append(name)
            return original(*args)

        monkeypatch.setattr(kind, name, noted)
    guided = row(0, [4, 5, 6, 7, 8], 6)
    guided.follower.guide = Even(trace)  # type: ignore[assignment]
    batch = Batch(load(tmp_path, "llama"))
    batch.add(guided)
    for _ in range(3):
        batch.step()
    trace.clear()
    tokens = run(batch)[0]
    step = ["async_eval", "read", "mask", "draw", "async_eval"]  # the pass; the draw
    assert trace == step * (len(trace) // 5) + ["read"]
    assert tokens and all(token % 2 == 0 for token in tokens)


def test_a_row_that_may_draw_nothing_fails_alone(tmp_path: Path) -> None:
    """In words, and the rows beside it never notice."""
    model = load(tmp_path, "llama")

    class Nothing(Even):
        def fill(self, words: Any) -> None:
            raise ValueError("no token is allowed")

    batch = Batch(model)
    lost = row(0, [4, 5, 6], 9)
    lost.follower.guide = Nothing([])  # type: ignore[assignment]
    batch.add(lost)
    batch.add(row(1, [4, 5, 6], 9))
    failed: list[Failed] = []
    tokens: list[int] = []
    while batch.num_rows:
        events = batch.step()
        failed += [event for event in events if isinstance(event, Failed)]
        tokens += [token for number, token in tokens_of(events) if number == 1]
    assert [event.id for event in failed] == [0] and "no token is allowed" in failed[0].message
    assert tokens == run_alone(model, [4, 5, 6], 9)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_no_phase_but_read_waits_for_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top_p: float
) -> None:
    """One row with top_p among three greedy ones: nothing is fetched before the pass is started."""
    waits: list[str] = []
    phase = "none"
    for name in ("item", "tolist", "__bool__", "__int__", "__float__"):
        original = getattr(mx.array, name)

        def waiting(array: mx.array, name: str = name, original: Any = original) -> Any:
            waits.append(f"{name} in {phase}")
            return original(array)

        monkeypatch.setattr(mx.array, name, waiting)
    for kind, name in ((DecodeGroup, "forward"), (DecodeGroup, "draw"), (Sampler, "draw")):
        original = getattr(kind, name)

        def noted(*args: Any, name: str = name, original: Any = original) -> Any:
            nonlocal phase
            phase, before = name, phase
            try:
                return original(*args)
            finally:
                phase = before

        monkeypatch.setattr(kind, name, noted)
    batch = Batch(load(tmp_path, "llama"))
    for number, prompt in enumerate(prompts([9] * 4)):
        batch.add(row(number, prompt, 12, SamplingParams(float(number == 0), top_p, seed=4)))
    run(batch)
    assert waits == ["tolist in none"] * len(waits) and waits


def test_end_of_sequence_and_budget_end_a_row(tmp_path: Path) -> None:
    """A row ends with the first end-of-sequence token, or with its last permitted token."""
    model = load(tmp_path, "llama")
    prompt = prompts([6])[0]
    free = run_alone(model, prompt, 12)
    eos = free[5]
    batch = Batch(model)
    batch.add(row(0, prompt, 12, eos=[eos]))
    batch.add(row(1, prompt, 2, eos=[eos]))
    finished: dict[int, Finished] = {}
    while batch.num_rows:
        finished |= {e.id: e for e in batch.step() if isinstance(e, Finished)}
    assert finished[0].reason == "stop"
    assert finished[0].usage.completion_tokens == free.index(eos) + 1
    assert finished[1].reason == "length" and finished[1].usage.completion_tokens == 2


@pytest.mark.parametrize("ends", ["stop", "eos", "length"])
def test_rows_that_end_in_one_step_leave_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Whatever ends seven of eight rows: the keys and values of the eighth are copied once."""
    model = load(tmp_path, "llama")
    prompt = prompts([20])[0]
    drawn = run_alone(model, prompt, 12)
    at = next(n for n in range(4, 12) if drawn[n] not in drawn[:n])
    batch = Batch(model, stall_limit_s=60)  # all prompts are read in one chunk
    for number in range(8):
        is_last = number == 7
        batch.add(
            row(
                number,
                prompt,
                60 if is_last or ends != "length" else at + 1,
                stop=(f" {drawn[at]} ",) if ends == "stop" and not is_last else (),
                eos=[drawn[at]] if ends == "eos" and not is_last else [],
            )
        )
    kept: list[int] = []
    keep = kv_cache.GroupCache.keep

    def noted(cache: kv_cache.GroupCache, rows: list[int]) -> None:
        kept.append(len(rows))
        keep(cache, rows)

    monkeypatch.setattr(kv_cache.GroupCache, "keep", noted)
    finished: set[int] = set()
    while len(finished) < 7:
        assert not finished and not kept
        finished |= {event.id for event in batch.step() if isinstance(event, Finished)}
    assert finished == set(range(7)) and kept == [1]


@pytest.mark.parametrize("phase", ["new", "prefill", "decode"])
def test_a_removed_row_frees_its_memory(tmp_path: Path, phase: str) -> None:
    """Cancelled before its first step, in prefill or in decode, a row leaves nothing behind."""
    model = load(tmp_path, "llama")
    batch = Batch(model, prefill_chunk_tokens=32)
    batch.add(row(0, prompts([200])[0], 50))
    if phase == "new":
        batch.add(row(1, [4, 5], 5))
        assert batch.remove(1) == []
    batch.step()
    if phase == "decode":
        while not tokens_of(batch.step()):
            pass
    assert batch.cache_bytes > 0
    assert batch.remove(0) == [] and batch.remove(0) is None
    assert batch.num_rows == 0 and batch.cache_bytes == 0 and mx.get_cache_memory() == 0


@pytest.mark.parametrize("count", [1, 3])
def test_a_row_that_cannot_begin_to_decode_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Alone or with others in one pass; the next one is served as if nothing had been."""
    model = load(tmp_path, "llama")
    batch = Batch(model, stall_limit_s=60)
    for number in range(count):
        batch.add(row(number, [4, 5, 6 + number], 3))
    with monkeypatch.context() as patched:
        patched.setattr("runtime.engine.batch.group.Sampler", None)
        events = batch.step()
    assert [event.id for event in events if isinstance(event, Failed)] == list(range(count))
    assert batch.num_rows == 0 and batch.cache_bytes == 0
    batch.add(row(9, [4, 5, 6], 3))
    assert run(batch)[9] == run_alone(model, [4, 5, 6], 3)


def test_a_fault_costs_its_own_rows_only(tmp_path: Path) -> None:
    """A forward pass that raises ends the rows it computed; later rows run as ever."""
    model = load(tmp_path, "llama")
    poisoned = 399

    class Fragile:
        """The model, save that it cannot read one token."""

        layers = model.layers
        make_cache = staticmethod(model.make_cache)

        def __call__(self, inputs: mx.array, cache: Any) -> mx.array:
            if poisoned in inputs.flatten().tolist():  # type: ignore[operator]
                raise RuntimeError("out of order")
            logits: mx.array = model(inputs, cache=cache)
            return logits

    batch = Batch(Fragile())
    batch.add(row(0, [poisoned, 4, 5], 3))  # fails in prefill
    batch.add(row(1, [4, poisoned], 3))  # fails in its first decode step
    failed = [e for _ in range(4) for e in batch.step() if isinstance(e, Failed)]
    assert {event.id for event in failed} == {0, 1}
    assert all("out of order" in event.message for event in failed)
    assert batch.num_rows == 0 and batch.cache_bytes == 0
    batch.add(row(2, [4, 5, 6], 3))
    assert run(batch)[2] == run_alone(model, [4, 5, 6], 3)


def test_every_row_has_exactly_one_last_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draw that fails costs the rows that go on, and not the one that ended in the same step."""
    batch = Batch(load(tmp_path, "llama"), stall_limit_s=60)
    batch.add(row(0, [4, 5, 6, 7, 8], 3))
    batch.add(row(1, [4, 5, 6, 7, 8], 9))
    num_draws = 0
    draw = Sampler.draw

    def failing(*args: Any) -> mx.array:
        nonlocal num_draws
        num_draws += 1
        if num_draws == 4:  # while the third tokens are read
            raise RuntimeError("out of order")
        return draw(*args)

    monkeypatch.setattr(Sampler, "draw", failing)
    last = []
    while batch.num_rows:
        last += [event for event in batch.step() if isinstance(event, (Failed, Finished))]
    assert [(event.id, type(event)) for event in last] == [(0, Finished), (1, Failed)]


def test_logits_that_are_not_numbers_fail_the_row(tmp_path: Path) -> None:
    """Damaged weights end in an error that says so, not in garbage text."""
    model = load(tmp_path, "llama")
    model.model.norm.weight = model.model.norm.weight * float("nan")
    batch = Batch(model)
    batch.add(row(0, [4, 5, 6], 5))
    failed = [e for _ in range(5) for e in batch.step() if isinstance(e, Failed)]
    assert len(failed) == 1 and "NaN" in failed[0].message
    assert batch.num_rows == 0
