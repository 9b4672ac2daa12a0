"""Tests of rows that leave the batch and go on later, and of background rows beside others."""

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import msgspec
import pytest

from runtime.engine.batch.batch import Batch
from runtime.engine.batch.row import Row
from runtime.events import Failed, Finished, Prefill, RowEvent, SetAside, TextDelta
from runtime.requests import Priority, SamplingParams
from tests.runtime.engine.looped import Noisy
from tests.runtime.engine.numbers import GREEDY, load, prompts, row, run, tokens_of

SAMPLINGS = (GREEDY, SamplingParams(seed=3), SamplingParams(temperature=0.8, top_p=0.9, seed=4))
OUT_OF_MEMORY = "[malloc] Unable to allocate 8 bytes."


@dataclass
class Answer:
    """What is asked, and what was told of it so far."""

    number: int
    prompt: list[int]
    sampling: SamplingParams
    max_tokens: int
    eos: Collection[int] = ()
    stop: tuple[str, ...] = ()
    text: str = ""
    drawn: list[int] = field(default_factory=list)

    def row(self) -> Row:
        """One that goes on with what is drawn."""
        begun = row(
            self.number, self.prompt, self.max_tokens, self.sampling, eos=self.eos, stop=self.stop
        )
        assert begun.follower.replay(self.drawn) is None
        tokens = [*self.prompt, *self.drawn]
        return Row(self.number, tokens, begun.sampling, begun.follower, len(self.drawn))

    def note(self, event: RowEvent) -> None:
        assert not isinstance(event, Failed), event
        if isinstance(event, TextDelta):
            self.text += event.text
        if isinstance(event, TextDelta | SetAside | Finished):
            self.drawn += event.tokens


def answers(model: Any) -> list[Answer]:
    """Undisturbed ones, of those that no rounding changes: what is read at once rounds otherwise
    than what was computed token by token. Every third ends by a stop sequence or by an eos."""
    work = prompts([3, 40, 9, 130, 21, 70, 5, 33, 90, 12, 60, 7])
    asked = [
        Answer(number, prompt, SAMPLINGS[number % 3], 30 + number)
        for number, prompt in enumerate(work)
    ]
    told = [_run(Noisy(model), asked) for _ in range(6)]
    robust = [
        answer for answer, *others in zip(*told, strict=True) if all(answer == o for o in others)
    ]
    assert len(robust) >= 6
    for answer in robust:
        if answer.number % 4 == 1:
            answer.stop = ("{} {} ".format(*answer.drawn[-6:-4]),)
        elif answer.number % 4 == 2:
            answer.eos = (answer.drawn[-5],)
    return _run(model, robust)


def _run(model: Any, asked: list[Answer]) -> list[Answer]:
    told = {answer.number: _unanswered(answer) for answer in asked}
    batch = Batch(model, stall_limit_s=60)
    for answer in told.values():
        batch.add(answer.row())
    while batch.num_rows:
        for event in batch.step():
            told[event.id].note(event)
    return list(told.values())


def _unanswered(answer: Answer) -> Answer:
    fresh = Answer(answer.number, answer.prompt, answer.sampling, answer.max_tokens)
    fresh.eos, fresh.stop = answer.eos, answer.stop
    return fresh


def disturb(model: Any, asked: list[Answer], generator: random.Random) -> tuple[list[Answer], int]:
    """The answers of rows that are set aside and go on at random steps, and how often they were."""
    told = {answer.number: _unanswered(answer) for answer in asked}
    aside, running, num_aside = list(told), set[int](), 0
    batch = Batch(model, prefill_chunk_tokens=64, stall_limit_s=60)
    while aside or running:
        while aside and (not running or generator.random() < 0.3):
            number = aside.pop(generator.randrange(len(aside)))
            batch.add(told[number].row())
            running.add(number)
        events = batch.step()
        if len(running) > 1 and generator.random() < 0.4:
            number = generator.choice(sorted(running))
            if (left := batch.set_aside(number)) is not None:
                events += left
                aside.append(number)
                running.remove(number)
                num_aside += 1
        for event in events:
            told[event.id].note(event)
            if isinstance(event, Finished):
                running.discard(event.id)
    return list(told.values()), num_aside


@pytest.mark.parametrize(
    "architecture", ["llama", "gemma3", "mamba2", "lfm2", "llama4", "llama_kv8", "llama_kv4"]
)
def test_rows_set_aside_at_random_steps_are_as_undisturbed(
    tmp_path: Path, architecture: str
) -> None:
    """A hundred times for each way to keep a cache: no token is told twice, lost, or another; nor
    is a stop sequence overlooked whose beginning was held back."""
    model = load(tmp_path, architecture)
    expected = answers(model)
    assert any(len(answer.drawn) < answer.max_tokens for answer in expected)
    generator, num_aside = random.Random(7), 0
    while num_aside < 100:
        told, count = disturb(model, expected, generator)
        assert told == expected
        num_aside += count


def test_what_is_not_there_is_not_set_aside(tmp_path: Path) -> None:
    batch = Batch(load(tmp_path, "llama"))
    assert batch.set_aside(1) is None


# --- memory ---------------------------------------------------------------------------------------


def rank(row: Row, priority: Priority) -> Row:
    row.priority = priority
    return row


@pytest.mark.parametrize("is_decoding", [False, True])
def test_when_memory_is_short_the_youngest_of_the_lowest_priority_leaves(
    tmp_path: Path, is_decoding: bool
) -> None:
    """One after the other, until the last, which is answered as if nothing was."""
    model, is_short = load(tmp_path, "llama"), False
    batch = Batch(model, is_memory_short=lambda: is_short)
    (expected,) = run_one(model, work := prompts([40] * 4))
    for number, prompt in enumerate(work):
        priority: Priority = "background" if number in (1, 2) else "interactive"
        batch.add(rank(row(number, prompt, 200), priority))
    told: list[int] = []
    drawing: set[int] = set()
    while is_decoding and len(drawing) < 4:
        events = batch.step()
        told += [token for number, token in tokens_of(events) if number == 0]
        drawing |= {number for number, _ in tokens_of(events)}
    is_short = True
    left: list[int] = []
    while batch.num_rows:
        events = batch.step()
        assert not any(isinstance(event, Failed) for event in events)
        left += [event.id for event in events if isinstance(event, SetAside)]
        told += [token for number, token in tokens_of(events) if number == 0]
    assert left == [2, 1, 3] and told == expected


def run_one(model: Any, work: list[list[int]]) -> list[list[int]]:
    batch = Batch(model)
    batch.add(row(0, work[0], 200))
    return [run(batch)[0]]


class Cramped:
    """A model that has memory for so many rows in a pass, and for no more."""

    def __init__(self, model: Any, num_rows: int, words: str = OUT_OF_MEMORY) -> None:
        self._model = model
        self._num_rows = num_rows
        self._words = words

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, inputs: mx.array, cache: Any) -> mx.array:
        if inputs.shape[0] > self._num_rows:
            raise RuntimeError(self._words)
        logits: mx.array = self._model(inputs, cache=cache)
        return logits


def test_a_pass_without_memory_sets_its_rows_aside(tmp_path: Path) -> None:
    """They go on one by one, with what they have; and the answers are as ever."""
    model = load(tmp_path, "llama")
    expected = answers(model)[:3]
    told = {answer.number: _unanswered(answer) for answer in expected}
    batch = Batch(Cramped(model, 1), stall_limit_s=60)
    waiting = [answer.row() for answer in told.values()]
    for begun in waiting:
        batch.add(begun)
    aside: list[int] = []
    while batch.num_rows or aside:
        if not batch.num_rows:
            batch.add(told[aside.pop(0)].row())
        for event in batch.step():
            told[event.id].note(event)
            if isinstance(event, SetAside):
                aside.append(event.id)
    assert list(told.values()) == expected


@pytest.mark.parametrize("words", [OUT_OF_MEMORY, "[matmul] Shapes do not fit."])
def test_who_has_no_memory_alone_fails(tmp_path: Path, words: str) -> None:
    """And whoever fails for another reason, in company too."""
    batch = Batch(Cramped(load(tmp_path, "llama"), 0, words))
    num_rows = 1 if words == OUT_OF_MEMORY else 3
    for number in range(num_rows):
        batch.add(row(number, [4, 5, 6, 7, 8], 5))
    events: list[RowEvent] = []
    while batch.num_rows:
        events += batch.step()
    assert [type(event) for event in events] == [Failed] * num_rows


def test_who_fails_for_want_of_memory_beside_others_was_not_alone(tmp_path: Path) -> None:
    """Two prompts of one step, each in a pass of its own, both without memory: none is over."""
    batch = Batch(Cramped(load(tmp_path, "llama"), 0, OUT_OF_MEMORY), stall_limit_s=60)
    for number in range(2):
        batch.add(row(number, [4, 5, 6], 5))  # too short to be read together
    assert [type(event) for event in batch.step()] == [SetAside] * 2
    batch.add(row(0, [4, 5, 6], 5))
    assert [type(event) for event in batch.step()] == [Failed]


# --- background -----------------------------------------------------------------------------------


def test_background_rows_mostly_wait_while_an_interactive_prompt_is_read(tmp_path: Path) -> None:
    """They take every fourth step, and all again when it is read."""
    batch = Batch(load(tmp_path, "llama"), prefill_chunk_tokens=4)
    batch.add(rank(row(1, [4, 5, 6, 7], 5000), "background"))
    while not tokens_of(batch.step()):
        pass
    batch.add(row(2, prompts([400])[0], 9))
    num_steps = num_tokens = 0
    is_read = False
    while not is_read:
        events = batch.step()
        num_steps += 1
        num_tokens += sum(number == 1 for number, _ in tokens_of(events))
        is_read = any(isinstance(e, Prefill) and e.done == e.total for e in events)
    assert num_steps >= 100 and num_steps // 4 <= num_tokens <= num_steps // 4 + 1
    assert {number for _ in range(4) for number, _ in tokens_of(batch.step())} == {1, 2}


def test_a_background_prompt_waits_for_interactive_ones(tmp_path: Path) -> None:
    """Save for the turn that the oldest has now and then, so that it never starves."""
    batch = Batch(load(tmp_path, "llama"), prefill_chunk_tokens=8)
    background, interactive = prompts([400, 400])
    batch.add(rank(row(1, background, 1), "background"))
    batch.add(row(2, interactive, 1))
    read: list[int] = []
    is_over = False
    while not is_over:
        events = batch.step()
        read += [event.id for event in events if isinstance(event, Prefill)]
        is_over = any(isinstance(event, Finished) and event.id == 2 for event in events)
    assert 0 < read.count(1) <= read.count(2) / 2


def test_rows_keep_what_they_are_asked_with() -> None:
    """A row that goes on counts and limits what it drew before."""
    begun = row(1, [4, 5], 9)
    begun.follower.replay([6, 7, 8])
    params = msgspec.structs.replace(begun.sampling)
    going_on = Row(1, [4, 5, 6, 7, 8], params, begun.follower, num_replayed=3)
    finished = going_on.finished("length")
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (2, 3)
    assert going_on.length == 0 and not going_on.is_drawing and finished.tokens == []
