"""A model and answers of it that no rounding changes, to compare disturbed ones with."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.config import Json
from registry.checkpoint.kv_bits import KvBits
from registry.checkpoint.model import Model
from runtime.engine.loader import load
from runtime.engine_messages import Generate
from runtime.events import Finished, PromptScores, ReasoningDelta, Score, TextDelta, ToolCallDelta
from runtime.generation import Generation
from runtime.pool import ModelPool
from runtime.requests import (
    AnswerFormat,
    ChatInput,
    ChatMessage,
    Constraint,
    GenerationRequest,
    SamplingParams,
    SamplingRequest,
    Tool,
    ToolUse,
)
from runtime.residency import PoolSettings
from tests.models.tiny_models import make_llama
from tests.runtime.engine.looped import Noisy, answers

NUM_ROWS = 16
_ROUNDING = 1e-3
# Rounding may send a number that is on the verge of two steps to the other one.
_ROUNDING_QUANTISED = 5e-2
# One that may think, and opens its thoughts where that is asked for.
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n"
    "{% endif %}{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)
_PLACE: dict[str, Json] = {
    "type": "object",
    "properties": {"place": {"enum": ["Köln", "Rome"]}, "days": {"type": "integer"}},
    "required": ["place", "days"],
    "additionalProperties": False,
}
_SAMPLINGS: Sequence[dict[str, Any]] = (
    {"temperature": 0},
    {"temperature": 1},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 0, "presence_penalty": 0.6, "frequency_penalty": 0.4}
    | {"logprobs": 3, "prompt_logprobs": 1},
    {"temperature": 1, "repetition_penalty": 1.3, "logit_bias": {40: 4, 41: 4, 50: -100}},
    {"temperature": 0, "loop_guard": True, "logit_bias": {70: 100}},
    {"temperature": 0.8, "top_k": 30, "min_p": 0.02, "logprobs": 0, "min_tokens": 40},
)
_SHAPES: Sequence[dict[str, Any]] = (
    {},
    {"constraint": Constraint("json_schema", {"type": "array", "items": _PLACE, "minItems": 6})},
    {"constraint": Constraint("regex", "[a-zé]{80,150}"), "max_reasoning_tokens": 12},
    {"max_reasoning_tokens": 30},
)


@dataclass(frozen=True)
class Answer:
    """Whole, with what it answers."""

    request: GenerationRequest
    prompt: list[int]
    sampling: SamplingParams
    form: AnswerFormat
    tokens: list[int]
    text: str
    scores: list[Score]

    @property
    def is_plain(self) -> bool:
        """Whether nothing but a temperature, a seed and a length was asked for."""
        sampling, asked = self.request.sampling, self.request
        plain = SamplingRequest(
            temperature=sampling.temperature, max_tokens=sampling.max_tokens, seed=sampling.seed
        )
        return asked == GenerationRequest(asked.input, plain) and self.form.calls is None


@dataclass(frozen=True)
class Known:
    """A model, and answers of it that no rounding changes."""

    model: Model
    answers: Sequence[Answer]


def make_known(folder: Path) -> Known:
    """Sixteen, of all kinds. Takes some seconds."""
    model = Model("tiny", make_llama(folder))
    known = _robust_answers(model)[:NUM_ROWS]
    assert len(known) == NUM_ROWS
    kinds = [(answer.sampling.temperature, answer.form.grammar is not None) for answer in known]
    assert {*kinds} == {(warm, is_guided) for warm in (0, 0.8, 1) for is_guided in (False, True)}
    for is_there in (
        lambda answer: answer.sampling.loop_guard and len(answer.tokens) < 200,
        lambda answer: answer.sampling.presence_penalty and answer.sampling.logprobs,
        lambda answer: answer.sampling.repetition_penalty != 1,
        lambda answer: answer.sampling.min_tokens,
        lambda answer: answer.form.thinking and answer.form.thinking.is_open,
        lambda answer: answer.form.calls,
    ):
        assert any(map(is_there, known))
    return Known(model, known)


def make_known_quantised(folder: Path, kv_bits: KvBits) -> Known:
    """Some: so much of a quantised cache is rounded that how many stay, and of what kind, is the
    CPU's to say."""
    model = Model("tiny", make_llama(folder, head_dim=32), kv_bits=kv_bits)
    known = _robust_answers(model)[:NUM_ROWS]
    assert len(known) >= 3
    return Known(model, known)


def _robust_answers(model: Model) -> list[Answer]:
    (model.folder / "chat_template.jinja").write_text(_TEMPLATE)
    return _robust(model, asyncio.run(_undisturbed(model, _requests(random.Random(1)))))


def _requests(generator: random.Random) -> list[GenerationRequest]:
    """Free, guided, thinking and calling ones; some whose prompt takes several chunks."""
    words = "quick brown fox lazy dog models memory prompt answer Köln naïve 日本語".split()
    requests = []
    for number in range(28):
        text = " ".join(generator.choices(words, k=(3, 20, 150)[number % 8 % 3]))
        sampling = _SAMPLINGS[number % 7] | {"max_tokens": generator.randrange(90, 220)}
        shape = {} if sampling.get("loop_guard") else _SHAPES[number % 5 % 4]
        calls = ToolUse((Tool("weather", parameters=_PLACE),), "required")
        asked = GenerationRequest(
            ChatInput(
                (ChatMessage("user", text),),
                {"enable_thinking": "max_reasoning_tokens" in shape},
                tool_use=calls if number % 5 == 4 else ToolUse(),
            ),
            SamplingRequest(seed=number, **sampling),
            **shape,
        )
        requests.append(asked)
    return requests


async def _undisturbed(model: Model, requests: Sequence[GenerationRequest]) -> list[Answer]:
    pool = ModelPool(PoolSettings())
    await pool.start()
    try:
        generations = [await pool.begin(model, asked) for asked in requests]
        told = await asyncio.gather(*(read(generation) for generation in generations))
    finally:
        await pool.close()
    return [
        Answer(
            asked,
            generation.prompt,
            generation.sampling,
            generation.form,
            *answer,
            generation._scores,
        )
        for asked, generation, answer in zip(requests, generations, told, strict=True)
    ]


def _robust(model: Model, told: Sequence[Answer]) -> list[Answer]:
    """Those that stay the same when logits are off by far more than what rounding can do.

    A continued row reads at once what was computed token by token before, which rounds otherwise;
    once in a million tokens that would turn a near tie, and be no fault.
    """
    loaded = load(model.folder, lambda done, total: None, kv_bits=model.kv_bits)
    noise = 1e-4 if model.kv_bits is None else _ROUNDING_QUANTISED
    noisy = replace(loaded, model=Noisy(loaded.model, noise))
    asked = [
        Generate(again * len(told) + number, answer.prompt, answer.sampling, form=answer.form)
        for again in range(3)
        for number, answer in enumerate(told)
    ]
    noised = answers(noisy, asked)
    same = [noised[command.id].tokens == told[command.id % len(told)].tokens for command in asked]
    return [answer for number, answer in enumerate(told) if all(same[number :: len(told)])]


def same(
    generation: Generation,
    told: tuple[list[int], str],
    answer: Answer,
    kv_bits: KvBits | None = None,
) -> bool:
    """Whether a generation, and what was read of it, are this answer."""
    rounding = _ROUNDING if kv_bits is None else _ROUNDING_QUANTISED
    scores, expected = generation._scores, answer.scores
    assert [score.text for score in scores] == [score.text for score in expected]
    logprobs = [score.logprob for score in scores]
    assert logprobs == pytest.approx([score.logprob for score in expected], abs=rounding)
    if answer.request.sampling.prompt_logprobs is not None:
        _, prompt = generation._progress[PromptScores]
        assert isinstance(prompt, PromptScores) and len(prompt.scores) == len(answer.prompt) - 1
    return told == (answer.tokens, answer.text)


async def read(generation: Generation) -> tuple[list[int], str]:
    """All tokens, and all that they say: thoughts, text and calls."""
    tokens: list[int] = []
    text = ""
    async for event in generation.follow():
        match event:
            case TextDelta(text=more) | ReasoningDelta(text=more):
                text += more
            case ToolCallDelta(name=name, arguments=arguments):
                text += name + arguments
        if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta | Finished):
            tokens += event.tokens
    assert isinstance(event, Finished) and event.usage.completion_tokens == len(tokens)
    return tokens, text
