"""Tests of runtime.engine.batch.batch: equal to the oracle, lean in memory, fair between rows."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.utils import load_model

from runtime.engine.batch.batch import Batch, RowFailed, RowPrefilled, RowToken
from runtime.engine.batch.group import DecodeGroup
from runtime.engine.batch.row import Row
from runtime.engine.cache import kv_cache
from runtime.engine.sampling.sampler import RowSampling
from tests.models import tiny_models

GREEDY = RowSampling.seeded(0, 1, 0)
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
        for result in batch.step():
            assert not isinstance(result, RowFailed), result.message
            if isinstance(result, RowToken):
                tokens.setdefault(result.row.id, []).append(result.token)
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
    batch = Batch(model, [], max_rows=6, prefill_chunk_tokens=128)
    for number, prompt in enumerate(work):
        batch.add(Row(number, prompt, GREEDY, max_tokens[number]))
    assert run(batch) == oracle(model, work, max_tokens)


@pytest.mark.parametrize("architecture", MERGEABLE)
def test_rows_may_join_and_leave_at_any_step(tmp_path: Path, architecture: str) -> None:
    """Rows that arrive at random steps, some removed half way, equal the rows run alone."""
    model = load(tmp_path, architecture)
    generator = random.Random(5)
    work = prompts([generator.randrange(1, 120) for _ in range(14)])
    alone = [run_alone(model, prompt, 30) for prompt in work]
    batch = Batch(model, [], max_rows=8, prefill_chunk_tokens=48)
    tokens: dict[int, list[int]] = {number: [] for number in range(len(work))}
    coming, removed = list(enumerate(work)), set()
    while coming or batch.num_rows:
        while coming and generator.random() < 0.4:
            number, prompt = coming.pop()
            batch.add(Row(number, prompt, GREEDY, 30))
        for result in batch.step():
            if isinstance(result, RowToken):
                tokens[result.row.id].append(result.token)
                if result.row.id % 3 == 0 and len(tokens[result.row.id]) == 7:
                    assert batch.remove(result.row.id)
                    removed.add(result.row.id)
    assert removed == {number for number in tokens if number % 3 == 0}
    for number, expected in enumerate(alone):
        assert tokens[number] == (expected[:7] if number in removed else expected)


def run_alone(model: Any, prompt: list[int], max_tokens: int) -> list[int]:
    batch = Batch(model, [])
    batch.add(Row(0, prompt, GREEDY, max_tokens))
    return run(batch)[0]


def test_rows_whose_caches_cannot_merge_run_side_by_side(tmp_path: Path) -> None:
    """Chunked attention has no merged cache: each row equals mlx-lm's own single generation."""
    model = load(tmp_path, "llama4")
    assert not kv_cache.is_mergeable(kv_cache.make(model))
    work = prompts([3, 50, 20])
    batch = Batch(model, [], prefill_chunk_tokens=16)
    for number, prompt in enumerate(work):
        batch.add(Row(number, prompt, GREEDY, 20))
    tokens = run(batch)
    for number, prompt in enumerate(work):
        single = generate_step(mx.array(prompt), model, max_tokens=20)
        assert tokens[number] == [token for token, _ in single]


def test_seeded_rows_draw_the_same_in_any_company(tmp_path: Path) -> None:
    """Temperature, top_p and seed belong to the row: the batch around it changes nothing."""
    model = load(tmp_path, "llama")
    work = prompts([4, 60, 200, 9])
    samplings = [
        RowSampling.seeded(1.0, 1.0, 3),
        RowSampling.seeded(0.7, 0.9, 3),
        RowSampling.seeded(0.0, 1.0, 3),
        RowSampling.seeded(1.2, 0.5, -9),
    ]
    together = Batch(model, [], prefill_chunk_tokens=64)
    for number, (prompt, sampling) in enumerate(zip(work, samplings, strict=True)):
        together.add(Row(number, prompt, sampling, 25))
    tokens = run(together)
    for number, (prompt, sampling) in enumerate(zip(work, samplings, strict=True)):
        alone = Batch(model, [])
        alone.add(Row(number, prompt, sampling, 25))
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
    batch = Batch(model, [], stall_limit_s=60)  # chunks as large on a slow machine as on a fast
    for number, prompt in enumerate(work):
        batch.add(Row(number, prompt, GREEDY, 200))
    peak, decoding = 0, set()
    while batch.num_rows:
        decoding |= {r.row.id for r in batch.step() if isinstance(r, RowToken)}
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
    batch = Batch(model, [])
    for number, prompt in enumerate(work):
        batch.add(Row(number, prompt, GREEDY, 4 if number == 1 else 24))
    tokens = run(batch)
    assert tokens == {n: row[: 4 if n == 1 else 24] for n, row in enumerate(alone)}


def test_prompts_are_read_in_chunks_with_decode_between(tmp_path: Path) -> None:
    """Eight prompts of 4,000 tokens beside a running row: it gets a token after every chunk."""
    model = load(tmp_path, "llama")
    batch = Batch(model, [], prefill_chunk_tokens=512)
    batch.add(Row(0, [5, 6, 7], GREEDY, 1000))
    while not any(isinstance(result, RowToken) for result in batch.step()):
        pass
    for number, prompt in enumerate(prompts([4000] * 8), start=1):
        batch.add(Row(number, prompt, GREEDY, 2))
    done: dict[int, int] = {}
    while set(done) != set(range(1, 9)) or any(done[n] < 3999 for n in done):
        before = sum(done.values())
        results = batch.step()
        assert any(isinstance(r, RowToken) and r.row.id == 0 for r in results)
        for result in results:
            if isinstance(result, RowPrefilled):
                done[result.row.id] = result.row.num_prefilled
        assert sum(done.values()) - before <= 512


class Recording:
    """The model, and the shapes (rows, tokens) that it was given to read."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.layers = model.layers
        self.make_cache = model.make_cache
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, tokens: mx.array, cache: Any) -> mx.array:
        self.shapes.append(tokens.shape)
        logits: mx.array = self._model(tokens, cache=cache)
        return logits


def test_prompts_that_are_read_together_keep_the_budget_padded(tmp_path: Path) -> None:
    """Fourteen prompts of two tokens are not padded to a fifteenth of 480: that is no chunk."""
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model, [], prefill_chunk_tokens=512, stall_limit_s=60)
    for number, prompt in enumerate(prompts([3] * 14 + [480])):
        batch.add(Row(number, prompt, GREEDY, 2))
    run(batch)
    assert max(rows * tokens for rows, tokens in model.shapes) <= 512
    assert (14, 2) in model.shapes  # and yet those alike were read in one pass


def test_a_slow_machine_is_probed_with_few_tokens(tmp_path: Path) -> None:
    """The first chunk may not take so long that the engine counts as hung; then chunks double."""
    model = Recording(load(tmp_path, "llama"))
    batch = Batch(model, [])
    batch.add(Row(0, prompts([2000])[0], GREEDY, 1))
    run(batch)
    chunks = [tokens for _, tokens in model.shapes if tokens > 1]
    assert chunks[0] <= 16 and all(b <= 2 * a + 1 for a, b in zip(chunks, chunks[1:], strict=False))


def test_the_next_step_is_dispatched_before_the_last_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the GPU computes while Python puts the tokens into words."""
    order: list[str] = []
    for name in ("dispatch", "read"):
        original = getattr(DecodeGroup, name)

        def noted(group: DecodeGroup, name: str = name, original: Any = original) -> Any:
            order.append(name)
            return original(group)

        monkeypatch.setattr(DecodeGroup, name, noted)
    batch = Batch(load(tmp_path, "llama"), [])
    batch.add(Row(0, [4, 5, 6], GREEDY, 9))
    run(batch)
    assert order == ["dispatch", "read"] * 10


def test_short_prompts_pass_long_ones_but_never_starve_them(tmp_path: Path) -> None:
    """The shortest remaining prompt goes first, and yet the oldest moves on all the time."""
    model = load(tmp_path, "llama")
    batch = Batch(model, [], prefill_chunk_tokens=64, max_rows=100)
    batch.add(Row(0, prompts([1500])[0], GREEDY, 1))
    first: list[int] = []
    for number, prompt in enumerate(prompts([60] * 400), start=1):
        batch.add(Row(number, prompt, GREEDY, 1))
        batch.add(Row(1000 + number, prompt, GREEDY, 1))
        first += [r.row.id for r in batch.step() if isinstance(r, RowToken)]
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
    batch = Batch(model, [eos])
    batch.add(Row(0, prompt, GREEDY, 12))
    batch.add(Row(1, prompt, GREEDY, 2))
    last: dict[int, RowToken] = {}
    while batch.num_rows:
        for result in batch.step():
            if isinstance(result, RowToken):
                last[result.row.id] = result
    assert last[0].is_eos and last[0].is_last and last[0].row.num_read == free.index(eos) + 1
    assert last[1].is_last and not last[1].is_eos and last[1].row.num_read == 2


@pytest.mark.parametrize("phase", ["waiting", "prefill", "decode"])
def test_a_removed_row_frees_its_memory(tmp_path: Path, phase: str) -> None:
    """Cancelled in the queue, in prefill or in decode, a row leaves nothing behind."""
    model = load(tmp_path, "llama")
    batch = Batch(model, [], max_rows=1, prefill_chunk_tokens=32)
    batch.add(Row(0, prompts([200])[0], GREEDY, 50))
    if phase == "waiting":
        batch.add(Row(1, [4, 5], GREEDY, 5))
        assert batch.remove(1)
    batch.step()
    if phase == "decode":
        while not any(isinstance(result, RowToken) for result in batch.step()):
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

        def __call__(self, tokens: mx.array, cache: Any) -> mx.array:
            if poisoned in tokens.flatten().tolist():  # type: ignore[operator]
                raise RuntimeError("out of order")
            logits: mx.array = model(tokens, cache=cache)
            return logits

    batch = Batch(Fragile(), [])
    batch.add(Row(0, [poisoned, 4, 5], GREEDY, 3))  # fails in prefill
    batch.add(Row(1, [4, poisoned], GREEDY, 3))  # fails in its first decode step
    failed = [r for _ in range(4) for r in batch.step() if isinstance(r, RowFailed)]
    assert {r.row.id for r in failed} == {0, 1}
    assert all("out of order" in r.message for r in failed)
    assert batch.num_rows == 0 and batch.cache_bytes == 0
    batch.add(Row(2, [4, 5, 6], GREEDY, 3))
    assert run(batch)[2] == run_alone(model, [4, 5, 6], 3)


def test_logits_that_are_not_numbers_fail_the_row(tmp_path: Path) -> None:
    """Damaged weights end in an error that says so, not in garbage text."""
    model = load(tmp_path, "llama")
    model.model.norm.weight = model.model.norm.weight * float("nan")
    batch = Batch(model, [])
    batch.add(Row(0, [4, 5, 6], GREEDY, 5))
    failed = [r for _ in range(5) for r in batch.step() if isinstance(r, RowFailed)]
    assert len(failed) == 1 and "NaN" in failed[0].message
    assert batch.num_rows == 0
