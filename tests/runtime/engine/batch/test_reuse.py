"""Tests of prompts that begin where others have been: cached equals cold, token for token."""

import random
from pathlib import Path

import mlx.core as mx
import pytest

from runtime.engine.batch.batch import Batch
from runtime.engine.cache import prefix, prefix_cache, trail
from runtime.engine.cache.layers import Arrays, joined
from runtime.events import Failed, Finished, RowEvent, SetAside
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

# Every token; windows beside them; a recurrence; a convolution beside attention; both in pieces;
# every token in 8 bits.
ARCHITECTURES = ["llama", "gemma3", "mamba2", "lfm2", "llama4", "llama_kv8"]
_ROOMY = 1 << 30


def batch_of(model: object, budget: int = _ROOMY) -> Batch:
    return Batch(model, prefill_chunk_tokens=64, stall_limit_s=60, prefix_cache_bytes=budget)  # type: ignore[arg-type]


def answer(
    batch: Batch, number: int, prompt: list[int], count: int, borders: tuple[int, ...] = ()
) -> tuple[list[int], int]:
    """The tokens drawn, and how many of the prompt's were cached."""
    asked = row(number, prompt, count)
    asked.borders = list(borders)
    batch.add(asked)
    tokens: list[int] = []
    cached = -1
    while cached < 0:
        events = batch.step()
        tokens += [token for id, token in tokens_of(events) if id == number]
        ends = (e for e in events if isinstance(e, Finished) and e.id == number)
        cached = next((end.usage.cached_tokens for end in ends), -1)
    return tokens, cached


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("lengths", [[400, 60, 61, 62, 300, 63], [50, *[2] * 12]])
def test_a_conversation_that_grows_is_read_once(
    tmp_path: Path, architecture: str, lengths: list[int]
) -> None:
    """Each turn goes on from all that was read and drawn before, but for its last token; also
    where there are many turns in a window.
    """
    model = load(tmp_path, architecture)
    batch = batch_of(model)
    history: list[int] = []
    for turn, said in enumerate(prompts(lengths)):
        prompt = [*history, *said]
        count = min(20, len(said))
        tokens, cached = answer(batch, turn, prompt, count)
        assert tokens == run_alone(model, prompt, count)
        assert cached == max(0, len(history) - 1), turn
        history = [*prompt, *tokens]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("borders", [(), (700,)])
def test_what_conversations_share_is_read_once(
    tmp_path: Path, architecture: str, borders: tuple[int, ...]
) -> None:
    """Where nobody tells the border at which they part, the second shows it."""
    model = Recording(load(tmp_path, architecture))
    batch = batch_of(model)
    shared, *ends = prompts([700] + [30] * 6)
    counts = []
    for number, end in enumerate(ends):
        tokens, cached = answer(batch, number, [*shared, *end], 8, borders)
        assert tokens == run_alone(model, [*shared, *end], 8)
        counts.append(cached)
    assert counts[0] == 0
    assert counts[1] == 700 if borders else counts[1] >= 700 - 256
    assert counts[2:] == [700] * 4


def test_what_little_all_prompts_begin_with_does_not_part_them(tmp_path: Path) -> None:
    """A template's first words were read before: the prompts are read in one pass all the same."""
    model = Recording(load(tmp_path, "llama"))
    template, *said = prompts([20] + [90] * 5)
    first, *work = ([*template, *each] for each in said)
    expected = {number: run_alone(model, prompt, 8) for number, prompt in enumerate(work)}
    batch = Batch(model, stall_limit_s=60, prefix_cache_bytes=_ROOMY)
    assert answer(batch, 9, first, 8)[1] == 0
    model.shapes.clear()
    for number, prompt in enumerate(work):
        batch.add(row(number, prompt, 8))
    assert run(batch) == expected
    assert (4, 109) in model.shapes
    (told, *_) = batch.reuse.described(lambda token: b"").lookups
    assert (told.blocked, told.matched_tokens, told.cached_tokens) == ("differs", 20, 0)
    assert answer(batch, 9, [*first, *said[0][:10]], 8)[1] == 110  # what is worth it is reused


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_that_come_together_wait_for_one_reading(tmp_path: Path, architecture: str) -> None:
    """Of the text that they share; who reads it may also leave before its end."""
    model = Recording(load(tmp_path, architecture))
    shared, *ends = prompts([700] + [30] * 6)
    work = {number: [*shared, *end] for number, end in enumerate(ends)}
    expected = {number: run_alone(model, prompt, 8) for number, prompt in work.items()}
    for gone in (None, 0):
        batch = batch_of(model)
        model.shapes.clear()
        for number, prompt in work.items():
            batch.add(row(number, prompt, 8))
        if gone is not None:
            for _ in range(4):
                batch.step()
            assert batch.remove(gone) == []
        tokens = run(batch)
        assert tokens == {n: each for n, each in expected.items() if n != gone}
        num_read = sum(rows * count for rows, count in model.shapes if count > 1)
        assert num_read <= 700 + 6 * 30 + (256 if gone is not None else 0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_that_draws_gives_what_it_read(tmp_path: Path, architecture: str) -> None:
    """Alone and in a group, also what was given away to it by the tree."""
    model = load(tmp_path, architecture)
    first, second, third, other = prompts([600, 30, 30, 50])
    for company in (0, 2):
        batch = batch_of(model)
        tokens, _ = answer(batch, 0, first, 8)
        history = [*first, *tokens]
        for number in range(company):
            batch.add(row(10 + number, [*other, 7 + number], 200))
        batch.add(row(1, [*history, *second], 100))
        for _ in range(20):
            batch.step()
        prompt = [*history, *third]
        drawn, cached = answer(batch, 2, prompt, 8)
        assert drawn == run_alone(model, prompt, 8)
        assert cached >= len(history) - (1 if architecture in ("llama", "llama_kv8") else 256)
        rest = run(batch)[1]
        assert rest == run_alone(model, [*history, *second], 100)[-len(rest) :]


@pytest.mark.parametrize("architecture", [*ARCHITECTURES])
@pytest.mark.parametrize("budget", [1, 20_000, 150_000, _ROOMY])
def test_any_traffic_is_answered_as_if_cold(tmp_path: Path, architecture: str, budget: int) -> None:
    """Prompts that share beginnings, go on, are cancelled or set aside, under any budget."""
    model = load(tmp_path, architecture)
    batch = batch_of(model, budget)
    chance = random.Random(budget)
    trunks = prompts([300, 280, 40], seed=2)
    known: list[list[int]] = []
    running: dict[int, tuple[list[int], int, list[int]]] = {}
    most = 0
    for number in range(40):
        base = chance.choice([*trunks, *known[-6:]])
        cut = chance.choice([len(base), chance.randrange(1, len(base) + 1)])
        prompt = [*base[:cut], *prompts([chance.randrange(1, 40)], seed=number)[0]]
        count = chance.choice([1, 3, 12])
        running[number] = (prompt, count, [])
        batch.add(row(number, prompt, count))
        for _ in range(chance.choice([0, 0, 1, 6, 30])):
            _collect(batch.step(), running, known, model)
            most = max(most, batch.reuse.cache.num_bytes)
        if chance.random() < 0.2 and running:
            gone = chance.choice(list(running))
            assert batch.remove(gone) is not None
            del running[gone]
    while batch.num_rows:
        _collect(batch.step(), running, known, model)
        most = max(most, batch.reuse.cache.num_bytes)
    assert not running
    assert most <= budget


def _collect(
    events: list[RowEvent],
    running: dict[int, tuple[list[int], int, list[int]]],
    known: list[list[int]],
    model: object,
) -> None:
    for number, token in tokens_of(events):
        running[number][2].append(token)
    for event in events:
        if isinstance(event, Finished):
            prompt, count, drawn = running.pop(event.id)
            assert drawn == run_alone(model, prompt, count)
            known.append([*prompt, *drawn])


@pytest.mark.parametrize("architecture", ["gemma3", "llama4"])
@pytest.mark.parametrize("tail", [6, 20])
def test_of_a_window_nothing_goes_along_that_is_said_otherwise(
    tmp_path: Path, architecture: str, tail: int
) -> None:
    """A row that is given a prefix but for its last tokens leaves its own words behind."""
    model = load(tmp_path, architecture)
    batch = batch_of(model)
    said, other, more = prompts([500, 1, 1])
    batch.add(row(0, said, 4))
    for _ in range(4):
        batch.step()
    batch.remove(0)
    read = said[: batch.reuse.cache.num_tokens]
    second = [*read[:-tail], *other]
    drawn, _ = answer(batch, 1, second, 25)
    assert drawn == run_alone(model, second, 25)
    third = [*second, *drawn, *more]
    again, cached = answer(batch, 2, third, 12)
    assert again == run_alone(model, third, 12)
    assert cached == len(second) + 24


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_that_is_only_read_is_kept(tmp_path: Path, architecture: str) -> None:
    """Several at once, beside one that draws, and equal ones; what goes on from them is as if cold,
    and finds all but the last token, which is read for the first draw."""
    model = load(tmp_path, architecture)
    batch = batch_of(model)
    prepared = prompts([150, 60, 300])
    for number, prompt in enumerate([*prepared, prepared[0]]):
        batch.add(row(number, prompt, 0))
    (beside,) = prompts([90])
    batch.add(row(9, beside, 30))
    told = run(batch)
    assert told.pop(9) == run_alone(model, beside, 30)
    assert all(not tokens for tokens in told.values())
    for number, (prompt, end) in enumerate(zip(prepared, prompts([20, 7, 40]), strict=True)):
        tokens, cached = answer(batch, 20 + number, [*prompt, *end], 8)
        assert tokens == run_alone(model, [*prompt, *end], 8)
        assert cached == len(prompt) - 1, number


@pytest.mark.parametrize("architecture", ["gemma3", "lfm2"])
@pytest.mark.parametrize("counts", [(20, 4), (4, 20)])
def test_a_border_is_kept_whichever_twin_leaves_first(
    tmp_path: Path, architecture: str, counts: tuple[int, int]
) -> None:
    batch = batch_of(load(tmp_path, architecture))
    system, user, other = prompts([300, 200, 30])
    for number, count in enumerate(counts):
        asked = row(number, [*system, *user], count)
        asked.borders = [300]
        batch.add(asked)
    run(batch)
    assert answer(batch, 2, [*system, *other], 4)[1] == 300


def test_who_waits_for_a_background_row_has_it_read_first(tmp_path: Path) -> None:
    """What an interactive row waits for is read before other background prompts."""
    model = load(tmp_path, "llama")
    batch = batch_of(model)
    shared, other, *ends = prompts([600, 300, 30, 30])
    slow = [row(0, other, 4), row(1, [*shared, *ends[0]], 4)]
    for each in slow:
        each.priority = "background"
        batch.add(each)
    urgent = row(2, [*shared, *ends[1]], 4)
    batch.add(urgent)
    assert batch.reuse.waiting_for(slow[1]) == [urgent]
    first: dict[int, int] = {}
    for step in range(40):
        for number, _ in tokens_of(batch.step()):
            first.setdefault(number, step)
    assert urgent.num_cached == 600
    assert first[2] < first[0]


def test_prefixes_make_room_before_a_row_has_to(tmp_path: Path) -> None:
    """Half of them at a time, until memory is not short any more; only then is a row set aside."""
    model = load(tmp_path, "llama")
    limit = [1 << 62]

    def is_short() -> bool:
        return batch.reuse.cache.num_bytes > limit[0]

    batch = Batch(
        model, prefill_chunk_tokens=64, stall_limit_s=60, prefix_cache_bytes=_ROOMY,
        is_memory_short=is_short,
    )  # fmt: skip
    for number, prompt in enumerate(prompts([900, 500, 300])):
        answer(batch, number, prompt, 3)
    held = batch.reuse.cache.num_bytes
    limit[0] = held // 3
    work = {10: prompts([70], seed=5)[0], 11: prompts([80], seed=6)[0]}
    for number, prompt in work.items():
        batch.add(row(number, prompt, 20))
    drawn: dict[int, list[int]] = {10: [], 11: []}
    for number, token in tokens_of(batch.step()):
        drawn[number].append(token)
    assert 0 < batch.reuse.cache.num_bytes <= held // 3
    assert batch.num_rows == 2
    limit[0] = -1  # nothing that the cache could give is enough
    events = batch.step()
    assert [event.id for event in events if isinstance(event, SetAside)] == [11]
    assert (batch.reuse.cache.num_bytes, batch.num_rows) == (0, 1)
    limit[0] = 1 << 62
    for number, token in [*tokens_of(events), *((10, t) for t in run(batch)[10])]:
        drawn[number].append(token)
    assert drawn[10] == run_alone(model, work[10], 20)


def test_nothing_is_kept_of_a_row_that_computed_no_numbers(tmp_path: Path) -> None:
    """Not-a-number in its cache would spread to all who begin like it."""
    model = load(tmp_path, "llama")
    (prompt,) = prompts([100])

    class Broken:
        is_on = True

        def __getattr__(self, name: str) -> object:
            return getattr(model, name)

        def __call__(self, inputs: mx.array, cache: object) -> mx.array:
            logits: mx.array = model(inputs, cache=cache)
            return logits * float("nan") if self.is_on and inputs.shape[1] == 1 else logits

    broken = Broken()
    batch = batch_of(broken)
    batch.add(row(0, prompt, 5))
    events = [event for _ in range(6) for event in batch.step()]
    assert any(isinstance(event, Failed) for event in events)
    assert batch.reuse.cache.num_bytes == 0
    broken.is_on = False
    assert answer(batch, 1, prompt, 5) == (run_alone(model, prompt, 5), 0)


def test_a_scored_prompt_is_read_whole(tmp_path: Path) -> None:
    """How likely it is follows from the logits of all of it."""
    model = load(tmp_path, "llama")
    batch = batch_of(model)
    (prompt,) = prompts([100])
    answer(batch, 0, prompt, 3)
    scored = row(1, prompt, 3, SamplingParams(0, prompt_logprobs=0))
    batch.add(scored)
    assert scored.num_cached == 0
    run(batch)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "lfm2"])
def test_a_cache_that_fails_costs_no_row(
    tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as for want of memory, in the middle of whatever it does: prompts are read then."""
    model = load(tmp_path, architecture)
    chance = random.Random(3)
    num_failed = 0

    def failing(parts: list[Arrays], room: int = 0) -> Arrays:
        nonlocal num_failed
        if chance.random() < 0.04:
            num_failed += 1
            raise RuntimeError("[malloc] Unable to allocate 8 bytes.")
        return joined(parts, room)

    for module in (prefix_cache, trail, prefix):
        monkeypatch.setattr(module, "joined", failing)
    batch = batch_of(model)
    running: dict[int, tuple[list[int], int, list[int]]] = {}
    known = prompts([300, 280])
    for number in range(25):
        base = chance.choice(known[-4:])
        said = base[: chance.choice((len(base), chance.randrange(1, len(base))))]
        running[number] = ([*said, *prompts([9], seed=number)[0]], 5, [])
        batch.add(row(number, running[number][0], 5))
        for _ in range(chance.choice((0, 3, 30))):
            _collect(batch.step(), running, known, model)
    while batch.num_rows:
        _collect(batch.step(), running, known, model)
    assert not running
    assert num_failed > 3
