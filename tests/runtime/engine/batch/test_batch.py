"""Tests of runtime.engine.batch.batch: equal to the oracle, lean in memory, fair between rows."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.utils import load_model

from runtime.engine.batch.batch import Batch
from runtime.engine.batch.group import DecodeGroup
from runtime.engine.cache import kv_cache
from runtime.engine.sampling.sampler import Sampler
from runtime.events import Failed, Finished, Prefill
from runtime.requests import SamplingParams
from tests.models import tiny_models
from tests.runtime.engine.numbers import row, tokens_of

MERGEABLE = ["llama", "gemma3", "mamba2", "lfm2"]


def load(folder: Path, architecture: str, **overrides: Any) -> Any:
    make: Callable[..., Path] = getattr(tiny_models, f"make_{architecture}")
    return load_model(make(folder, **overrides))[0]


def prompts(lengths: list[int], seed: int = 1) -> list[list[int]]:
    generator = random.Random(seed)
    return [[generator.randrange(3, 400) for _ in range(length)] for length in lengths]


def run(batch: Batch) -> dict[int, list[int]]:
    """Step until all rows are done; their tokens by row id."""
    tokens: dict[int, list[int]] = {}
    while batch.num_rows:
        events = batch.step()
        assert not any(isinstance(event, Failed) for event in events), events
        for number, token in tokens_of(events):
            tokens.setdefault(number, []).append(token)
    return tokens


def oracle(model: Any, work: list[list[int]], max_tokens: list[int]) -> dict[int, list[int]]:
    generator = BatchGenerator(model)
    ids = generator.insert(work, max_tokens)
    tokens: dict[int, list[int]] = {}
    while responses := generator.next_generated():
        for response in responses:
            tokens.setdefault(ids.index(response.uid), []).append(response.token)
    generator.close()
    return tokens


@pytest.mark.parametrize("architecture", MERGEABLE)
def test_a_mixed_batch_equals_the_batch_generator(tmp_path: Path, architecture: str) -> None:
    """Greedy rows of very different length, joining and leaving, are token for token the same."""
    model = load(tmp_path, architecture)
    work = prompts([1, 5, 40, 300, 7, 700, 33, 2, 90, 1200])
    max_tokens = [40 - 3 * n % 17 for n in range(len(work))]
    batch = Batch(model, max_rows=6, prefill_chunk_tokens=128)
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, max_tokens[number]))
    assert run(batch) == oracle(model, work, max_tokens)


@pytest.mark.parametrize("architecture", MERGEABLE)
def test_rows_may_join_and_leave_at_any_step(tmp_path: Path, architecture: str) -> None:
    """Rows that arrive at random steps, some removed half way, equal the rows run alone."""
    model = load(tmp_path, architecture)
    generator = random.Random(5)
    work = prompts([generator.randrange(1, 120) for _ in range(14)])
    alone = [run_alone(model, prompt, 30) for prompt in work]
    batch = Batch(model, max_rows=8, prefill_chunk_tokens=48)
    tokens: dict[int, list[int]] = {number: [] for number in range(len(work))}
    coming, removed = list(enumerate(work)), set()
    while coming or batch.num_rows:
        while coming and generator.random() < 0.4:
            number, prompt = coming.pop()
            batch.add(row(number, prompt, 30))
        for number, token in tokens_of(batch.step()):
            tokens[number].append(token)
            if number % 3 == 0 and len(tokens[number]) == 7:
                assert batch.remove(number)
                removed.add(number)
    assert removed == {number for number in tokens if number % 3 == 0}
    for number, expected in enumerate(alone):
        assert tokens[number] == (expected[:7] if number in removed else expected)


def run_alone(model: Any, prompt: list[int], max_tokens: int) -> list[int]:
    batch = Batch(model)
    batch.add(row(0, prompt, max_tokens))
    return run(batch)[0]


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
        single = generate_step(mx.array(prompt), model, max_tokens=20)
        assert tokens[number] == [token for token, _ in single]


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


@pytest.mark.parametrize(
    "lengths",
    [[100] * 15 + [4000], [10, 10, 10, 700], [257, 1000], [500] * 6],
    ids=["one long", "just too long", "two", "alike"],
)
def test_padding_stays_within_twice_the_rows_own(tmp_path: Path, lengths: list[int]) -> None:
    """A row of 4,000 tokens beside 15 of 100 must not make them all as large as itself."""
    model = load(tmp_path, "llama")
    work = prompts(lengths)
    own = 0
    for prompt in work:
        cache = kv_cache.make(model)
        model(mx.array(prompt)[None], cache=cache)
        own += kv_cache.num_bytes(cache)
    batch = Batch(model, stall_limit_s=60)  # chunks as large on a slow machine as on a fast
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, 200))
    peak, decoding = 0, set()
    while batch.num_rows:
        decoding |= {number for number, _ in tokens_of(batch.step())}
        peak = max(peak, batch.cache_bytes)
        if len(decoding) == len(work):
            break
    for _ in range(5):  # merged caches grow when the first tokens are written
        batch.step()
        peak = max(peak, batch.cache_bytes)
    assert len(decoding) == len(work)
    assert 0.95 * own < peak <= 2 * own


def test_groups_split_when_leaving_rows_unbalance_them(tmp_path: Path) -> None:
    """After the rows that justified the padding left, the rest regroup and go on unharmed."""
    model = load(tmp_path, "llama")
    work = prompts([3000, 2800, 300, 280, 320])
    alone = [run_alone(model, prompt, 24) for prompt in work]
    batch = Batch(model)
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, 4 if number == 1 else 24))
    tokens = run(batch)
    assert tokens == {n: row[: 4 if n == 1 else 24] for n, row in enumerate(alone)}


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


class Recording:
    """The model, and the shapes (rows, tokens) that it was given to read."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.layers = model.layers
        self.make_cache = model.make_cache
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, inputs: mx.array, cache: Any) -> mx.array:
        self.shapes.append(inputs.shape)
        logits: mx.array = self._model(inputs, cache=cache)
        return logits


def test_prompts_that_are_read_together_keep_the_budget_padded(tmp_path: Path) -> None:
    """Fourteen prompts of two tokens are not padded to a fifteenth of 480: that is no chunk."""
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model, prefill_chunk_tokens=512, stall_limit_s=60)
    for number, prompt in enumerate(prompts([3] * 14 + [480])):
        batch.add(row(number, prompt, 2))
    run(batch)
    assert max(rows * tokens for rows, tokens in model.shapes) <= 512
    assert (14, 2) in model.shapes  # and yet those alike were read in one pass


def test_a_slow_machine_is_probed_with_few_tokens(tmp_path: Path) -> None:
    """The first chunk may not take so long that the engine counts as hung; then chunks double."""
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model)
    batch.add(row(0, prompts([2000])[0], 1))
    run(batch)
    chunks = [tokens for _, tokens in model.shapes if tokens > 1]
    assert chunks[0] <= 16 and all(b <= 2 * a + 1 for a, b in zip(chunks, chunks[1:], strict=False))


PHASES = ("forward", "read", "draw")


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
    twice = ["forward", "forward", "read", "read", "draw", "draw"]
    assert twice in [order[at : at + 6] for at in range(len(order))]


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


def test_short_prompts_pass_long_ones_but_never_starve_them(tmp_path: Path) -> None:
    """The shortest remaining prompt goes first, and yet the oldest moves on all the time."""
    model = load(tmp_path, "llama")
    batch = Batch(model, prefill_chunk_tokens=64, max_rows=100)
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


@pytest.mark.parametrize("phase", ["waiting", "prefill", "decode"])
def test_a_removed_row_frees_its_memory(tmp_path: Path, phase: str) -> None:
    """Cancelled in the queue, in prefill or in decode, a row leaves nothing behind."""
    model = load(tmp_path, "llama")
    batch = Batch(model, max_rows=1, prefill_chunk_tokens=32)
    batch.add(row(0, prompts([200])[0], 50))
    if phase == "waiting":
        batch.add(row(1, [4, 5], 5))
        assert batch.remove(1)
    batch.step()
    if phase == "decode":
        while not tokens_of(batch.step()):
            pass
    assert batch.cache_bytes > 0
    assert batch.remove(0) and not batch.remove(0)
    assert batch.num_rows == 0 and batch.cache_bytes == 0


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
    batch.add(row(0, [4, 5, 6], 3))
    batch.add(row(1, [4, 5, 6], 9))
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
