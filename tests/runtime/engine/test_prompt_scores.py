"""Tests of how likely a model takes a prompt: as a full forward pass has it, in bounded memory."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from msgspec.structs import replace

from runtime.engine.batch.batch import Batch
from runtime.engine.cache import kv_cache
from runtime.engine.loader import LoadedModel, load
from runtime.engine_messages import Generate
from runtime.events import Finished, PromptScores, SetAside, TextDelta
from runtime.requests import SamplingParams
from tests.models.zoo.checkpoints import make
from tests.models.zoo.shape import VOCAB_SIZE
from tests.runtime.engine import numbers
from tests.runtime.engine.looped import answers
from tests.runtime.engine.numbers import prompts, row, run, run_alone


def check(loaded: LoadedModel, prompt: list[int], told: PromptScores | None, count: int) -> None:
    """Against one pass over the whole prompt."""
    assert told is not None and len(told.scores) == len(prompt) - 1
    logits = loaded.model(mx.array([prompt]), cache=kv_cache.make(loaded.model))[0]
    read = np.array(logits.astype(mx.float32), np.float64)
    exact = read - np.log(np.exp(read).sum(axis=-1, keepdims=True))
    for token, score, behind in zip(prompt[1:], told.scores, exact[:-1], strict=True):
        assert score.logprob == pytest.approx(behind[token], abs=1e-3)
        logprobs = [logprob for _, logprob in score.alternatives]
        assert logprobs == pytest.approx((-np.sort(-behind))[:count], abs=1e-3)


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text", "falcon_h1"])
def test_a_prompt_is_as_likely_as_a_full_forward_pass_says(
    tmp_path: Path, architecture: str
) -> None:
    """Of one token and of several chunks, beside rows that do not ask; also where nothing is drawn,
    and what is drawn is what it would be else."""
    loaded = load(make(architecture, tmp_path / "model"), lambda done, total: None)
    work = prompts([9, 1, 40, 200, 9, 150, 5, 6, 7, 70], vocab_size=VOCAB_SIZE)
    asked = []
    for number, prompt in enumerate(work, 3):
        sampling = SamplingParams(0, max_tokens=number % 3, logprobs=0)
        sampling = replace(sampling, prompt_logprobs=number % 4 or None)
        asked.append(Generate(number, prompt, sampling))
    told = answers(loaded, asked)
    for command in asked:
        answer, count = told[command.id], command.sampling.prompt_logprobs
        assert len(answer.tokens) == len(answer.scores) == command.sampling.max_tokens
        assert answer.reason == "length"
        if count is None:
            assert answer.prompt is None
            continue
        check(loaded, command.tokens, answer.prompt, count)
        plain = SamplingParams(0, max_tokens=command.sampling.max_tokens)
        if plain.max_tokens:
            (alone,) = answers(loaded, [Generate(1, command.tokens, plain)]).values()
            assert answer.tokens == alone.tokens


class Sized(numbers.Recording):
    """Notes how many logits are computed at once."""

    def __call__(self, inputs: mx.array, cache: Any) -> mx.array:
        logits = super().__call__(inputs, cache)
        assert logits.shape[0] * logits.shape[1] <= 64
        return logits


def scores_of(events: list[Any]) -> dict[int, PromptScores]:
    return {event.id: event for event in events if isinstance(event, PromptScores)}


def test_logits_are_held_of_few_tokens_at_once_and_twins_share_them(tmp_path: Path) -> None:
    """Three answers to a long prompt, of which it is read once; another that asks for more is
    nobody's twin."""
    model = Sized(numbers.load(tmp_path, "llama"))
    (prompt,) = prompts([300])
    batch = Batch(model, stall_limit_s=60)
    for number, count in enumerate((2, 2, 2, 3)):
        batch.add(row(number, prompt, 4, SamplingParams(seed=number, prompt_logprobs=count)))
    events: list[Any] = []
    while batch.num_rows:
        events += batch.step()
    told = scores_of(events)
    assert sum(tokens for _, tokens in model.shapes if tokens > 1) == 2 * 299
    assert told[0].scores == told[1].scores == told[2].scores and len(told[0].scores) == 299
    assert {len(score.alternatives) for score in told[3].scores} == {3}
    assert sum(isinstance(event, Finished) for event in events) == 4


def test_who_leaves_half_way_is_told_later(tmp_path: Path) -> None:
    """Its heir is told the whole, and so is whoever comes again; who was told is not again."""
    model = numbers.load(tmp_path, "llama")
    (prompt,) = prompts([150])
    sampling = SamplingParams(seed=3, prompt_logprobs=0)
    expected = run_alone(model, prompt, 5, sampling)
    batch = Batch(model, stall_limit_s=60)
    batch.add(row(0, prompt, 5, sampling))
    batch.add(row(1, prompt, 5, sampling))
    batch.step()
    assert batch.set_aside(0) == [SetAside(0, [])]
    events: list[Any] = []
    while not scores_of(events):
        events += batch.step()
    batch.add(row(0, prompt, 5, sampling))
    assert batch.set_aside(1) is not None
    while batch.num_rows:
        events += batch.step()
    told = scores_of(events)
    assert told.keys() == {0, 1}
    logprobs = [[score.logprob for score in told[number].scores] for number in (0, 1)]
    assert len(logprobs[0]) == 149 and logprobs[0] == pytest.approx(logprobs[1], abs=1e-4)
    batch.add(row(2, prompt, 5, SamplingParams(seed=3)))
    assert run(batch) == {2: expected}


@pytest.mark.parametrize("max_tokens", [0, 3])
def test_a_prompt_of_one_token_waits_as_others_do(tmp_path: Path, max_tokens: int) -> None:
    """A background one beside an interactive prompt has nothing to read, and is told once."""
    batch = Batch(numbers.load(tmp_path, "llama"), prefill_chunk_tokens=8, stall_limit_s=60)
    waiting = row(1, [7], max_tokens, SamplingParams(0, prompt_logprobs=0))
    waiting.priority = "background"
    batch.add(row(0, prompts([90])[0], 2))
    batch.add(waiting)
    events: list[Any] = []
    while batch.num_rows:
        events += batch.step()
    own = [event for event in events if event.id == 1 and not isinstance(event, TextDelta)]
    assert [type(event) for event in own] == [PromptScores, Finished]
    assert own[0].scores == [] and own[1].usage.completion_tokens == max_tokens
