"""Batch equals single: whatever a row asks for, it is answered as if it were alone.

Rows of every kind beside each other, joining and leaving, in the engine's own loop.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from msgspec.structs import replace as replace_in

from runtime.engine.cache import kv_cache
from runtime.engine.loader import LoadedModel, load
from runtime.engine_messages import Generate
from runtime.requests import AnswerFormat, SamplingParams, Thinking
from runtime.text.call_syntax import HERMES, written
from runtime.text.grammar.lark import OPTIONS, quoted
from tests.models.zoo.checkpoints import make
from tests.models.zoo.shape import VOCAB_SIZE
from tests.runtime.engine.looped import Answer, Noisy, answers
from tests.runtime.engine.numbers import prompts

# Full attention, the same with norms, sliding windows, attention beside a recurrence, only such.
ARCHITECTURES = ["llama", "qwen3", "gemma3_text", "falcon_h1", "mamba2"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "gemma3_text", "mamba2")]
WORD = AnswerFormat(grammar=OPTIONS + "\nstart: /[a-z]{4}( [a-z]{2,9}){1,3}/")
OBJECT = AnswerFormat(
    grammar=OPTIONS + '\nstart: %json {"type": "object", "properties": {"a": {"type": "integer"}, '
    '"b": {"enum": ["yes", "no"]}}, "required": ["a", "b"], "additionalProperties": false, '
    '"x-guidance": {"whitespace_flexible": false}}'
)
_OPEN, _CLOSE = written(HERMES, [("weather", {})]).rsplit("{}", 1)
CALLS = AnswerFormat(
    calls=HERMES,
    parameters={"weather": {}},
    grammar=f"{OPTIONS}\nstart: {quoted(_OPEN)} arguments {quoted(_CLOSE)}\n"
    'arguments: %json {"type": "object", "properties": {"a": {"enum": ["here", "there"]}}, '
    '"required": ["a"], "additionalProperties": false, '
    '"x-guidance": {"whitespace_flexible": false}}',
)
THINKS = AnswerFormat(Thinking("<b>", "</b>", is_open=True), max_reasoning_tokens=9)
FREE = AnswerFormat()

KINDS: dict[str, tuple[SamplingParams, AnswerFormat]] = {
    "greedy": (SamplingParams(0), FREE),
    "greedy too": (SamplingParams(0), FREE),
    "seeded": (SamplingParams(seed=1), FREE),
    "its twin": (SamplingParams(seed=2), FREE),
    "top_p": (SamplingParams(0.8, 0.9, seed=3), FREE),
    "top_k": (SamplingParams(seed=4, top_k=12), FREE),
    "min_p": (SamplingParams(1.4, seed=5, min_p=0.1), FREE),
    "all cuts": (SamplingParams(1.2, 0.95, seed=6, top_k=40, min_p=0.01), FREE),
    "penalties": (SamplingParams(0, presence_penalty=0.6, frequency_penalty=0.4), FREE),
    "repetition": (SamplingParams(0.7, seed=7, repetition_penalty=1.3), FREE),
    "bias": (SamplingParams(seed=8, logit_bias={40: 6, 41: 6, 50: -100}), FREE),
    "too early to end": (SamplingParams(0, logit_bias={2: 100}, min_tokens=11), FREE),
    "another end": (SamplingParams(seed=9, stop_token_ids=tuple(range(60, 90))), FREE),
    "logprobs": (SamplingParams(0, logprobs=0), FREE),
    "alternatives": (SamplingParams(seed=10, logprobs=20, frequency_penalty=1), FREE),
    "loops": (SamplingParams(0, logit_bias={70: 100}, loop_guard=True), FREE),
    "schema": (SamplingParams(0), OBJECT),
    "seeded schema": (SamplingParams(seed=11, presence_penalty=0.3, logprobs=3), OBJECT),
    "pattern": (SamplingParams(seed=12, top_p=0.9), WORD),
    "thinks": (SamplingParams(seed=13), THINKS),
    "calls": (SamplingParams(seed=14, repetition_penalty=1.1), CALLS),
}
LENGTHS = [5, 60, 33, 33, 1, 150, 9, 3, 80, 21, 2, 47, 12, 100, 6, 10, 30, 4, 18, 25, 14]


def commands(names: Sequence[str]) -> list[Generate]:
    """A row of each kind; the twins have one prompt."""
    work = dict(zip(KINDS, prompts(LENGTHS, vocab_size=VOCAB_SIZE), strict=True))
    work["its twin"] = work["seeded"]
    numbers = {name: number for number, name in enumerate(KINDS)}
    asked = []
    for name in names:
        sampling, form = KINDS[name]
        max_tokens = 130 if sampling.loop_guard or form.calls else 20 + numbers[name]
        sampling = replace_in(sampling, max_tokens=max_tokens)
        asked.append(Generate(numbers[name], work[name], sampling, form=form))
    return asked


def alone(loaded: LoadedModel, command: Generate) -> Answer:
    return answers(loaded, [command])[command.id]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_likelihoods_are_those_of_a_full_forward_pass(tmp_path: Path, architecture: str) -> None:
    """Over prompt and answer at once; by the logits as they are computed, whatever is penalised."""
    loaded = load(make(architecture, tmp_path / "model"), lambda done, total: None)
    asked = [
        Generate(number, prompt, replace_in(sampling, max_tokens=18, logprobs=count))
        for number, (prompt, count) in enumerate(
            zip(prompts([3, 70, 1, 20], vocab_size=VOCAB_SIZE), (0, 1, 5, 20), strict=True)
        )
        for sampling in [KINDS[("greedy", "top_p", "penalties", "bias")[number]][0]]
    ]
    for command, answer in zip(asked, answers(loaded, asked).values(), strict=True):
        tokens = mx.array([[*command.tokens, *answer.tokens[:-1]]])
        logits = loaded.model(tokens, cache=kv_cache.make(loaded.model))
        read = np.array(logits[0, len(command.tokens) - 1 :].astype(mx.float32), np.float64)
        exact = read - np.log(np.exp(read).sum(axis=-1, keepdims=True))
        assert len(answer.scores) == len(answer.tokens) == 18
        for token, score, row in zip(answer.tokens, answer.scores, exact, strict=True):
            assert score.logprob == pytest.approx(row[token], abs=1e-3)
            told = [logprob for _, logprob in score.alternatives]
            assert told == pytest.approx((-np.sort(-row))[: command.sampling.logprobs], abs=1e-3)


def same(answer: Answer, expected: Answer) -> None:
    assert answer.tokens == expected.tokens
    assert (answer.text, answer.thought) == (expected.text, expected.thought)
    assert answer.called == expected.called
    assert answer.reason == expected.reason
    assert [s.text for s in answer.scores] == [s.text for s in expected.scores]
    for score, other in zip(answer.scores, expected.scores, strict=True):
        assert score.logprob == pytest.approx(other.logprob, abs=1e-3)
        logprobs = ([logprob for _, logprob in s.alternatives] for s in (score, other))
        assert next(logprobs) == pytest.approx(next(logprobs), abs=1e-3)


@pytest.mark.parametrize("architecture", ["llama", "falcon_h1", *SLOW])
def test_every_kind_of_row_is_answered_as_if_alone(tmp_path: Path, architecture: str) -> None:
    """All at once, then one by one, then one leaving half way."""
    loaded = load(make(architecture, tmp_path / "model"), lambda done, total: None)
    noisy = replace(loaded, model=Noisy(loaded.model))
    asked = commands(list(KINDS))
    expected = {command.id: alone(loaded, command) for command in asked}
    assert expected[asked[-1].id].called in ('weather{"a":"here"}', 'weather{"a":"there"}')
    robust = [c for c in asked if alone(noisy, c).tokens == expected[c.id].tokens]
    assert len(robust) >= len(asked) - 3
    for every, cancelled in ((0, None), (4, None), (2, robust[2].id)):
        told = answers(loaded, asked, every, cancelled)
        for command in robust:
            if command.id == cancelled:
                tokens = told[cancelled].tokens
                assert tokens == expected[cancelled].tokens[: len(tokens)]
            else:
                same(told[command.id], expected[command.id])
