"""Tests of runtime.engine.batch.groups: rows that decode together waste little on padding."""

from pathlib import Path

import mlx.core as mx
import pytest

from runtime.engine.batch.batch import Batch
from runtime.engine.cache import kv_cache
from tests.runtime.engine.numbers import load, prompts, row, run, run_alone, tokens_of


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
    singles = [run_alone(model, prompt, 24) for prompt in work]
    batch = Batch(model)
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, 4 if number == 1 else 24))
    tokens = run(batch)
    assert tokens == {n: row[: 4 if n == 1 else 24] for n, row in enumerate(singles)}


def test_states_of_a_fixed_size_decode_in_one_group(tmp_path: Path) -> None:
    """A recurrence keeps as much of 2,000 tokens as of 10: nothing is padded, so all go along."""
    model = load(tmp_path, "mamba2")
    batch = Batch(model)
    for number, prompt in enumerate(prompts([10, 2000, 30])):
        batch.add(row(number, prompt, 300))
    decoding: set[int] = set()
    while len(decoding) < 3:
        decoding |= {number for number, _ in tokens_of(batch.step())}
    assert len(batch._groups) == 1
    assert len(run(batch)) == 3
