"""A model and sixteen answers of it that no rounding changes, to compare disturbed ones with."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from mlx_lm.utils import load_model

from registry.checkpoint.model import Model
from runtime.engine.batch.batch import Batch
from runtime.engine.cache.kv_cache import Cache
from runtime.engine.language_model import LanguageModel
from runtime.events import Finished, TextDelta
from runtime.generation import Generation
from runtime.pool import ModelPool
from runtime.requests import GenerationRequest, SamplingParams
from runtime.residency import PoolSettings
from tests.models.tiny_models import make_llama
from tests.runtime.asking import request
from tests.runtime.engine.numbers import row, run

NUM_ROWS = 16


@dataclass(frozen=True)
class Answer:
    """Whole, with what it answers."""

    request: GenerationRequest
    prompt: list[int]
    sampling: SamplingParams
    tokens: list[int]
    text: str


@dataclass(frozen=True)
class Known:
    """A model, and answers of it that no rounding changes."""

    model: Model
    answers: Sequence[Answer]


def make_known(folder: Path) -> Known:
    """Greedy ones and seeded ones. Takes some seconds."""
    model = Model("tiny", make_llama(folder))
    answers = asyncio.run(_undisturbed(model, _requests(random.Random(1))))
    robust = _robust(model.folder, answers)
    assert len(robust) >= NUM_ROWS
    assert {answer.sampling.temperature for answer in robust[:NUM_ROWS]} == {0, 0.8, 1}
    return Known(model, robust[:NUM_ROWS])


def _requests(generator: random.Random) -> list[GenerationRequest]:
    """Greedy ones and seeded ones; some whose prompt takes several chunks."""
    words = "quick brown fox lazy dog models memory prompt answer Köln naïve 日本語".split()
    samplings = ({"temperature": 0}, {"temperature": 1}, {"temperature": 0.8, "top_p": 0.9})
    return [
        request(
            " ".join(generator.choices(words, k=(3, 20, 150)[number % 8 % 3])),
            **samplings[number % 3] | {"seed": number, "max_tokens": generator.randrange(90, 220)},
        )
        for number in range(24)
    ]


async def _undisturbed(model: Model, requests: Sequence[GenerationRequest]) -> list[Answer]:
    pool = ModelPool(PoolSettings())
    await pool.start()
    try:
        generations = [await pool.begin(model, asked) for asked in requests]
        told = await asyncio.gather(*(read(generation) for generation in generations))
    finally:
        await pool.close()
    return [
        Answer(asked, generation.prompt, generation.sampling, *answer)
        for asked, generation, answer in zip(requests, generations, told, strict=True)
    ]


def _robust(folder: Path, answers: Sequence[Answer]) -> list[Answer]:
    """Those that stay the same when logits are off by a hundred times what rounding can do.

    A continued row reads at once what was computed token by token before, which rounds otherwise;
    once in a million tokens that would turn a near tie, and be no fault.
    """
    batch = Batch(_Noisy(load_model(folder)[0]), prefill_chunk_tokens=4096)
    numbers = range(len(answers))
    for again in range(4):
        for number, answer in enumerate(answers):
            id = again * len(answers) + number
            batch.add(row(id, answer.prompt, len(answer.tokens), answer.sampling))
    drawn = run(batch)
    same = [
        all(drawn[again * len(answers) + number] == answers[number].tokens for again in range(4))
        for number in numbers
    ]
    return [answer for answer, is_same in zip(answers, same, strict=True) if is_same]


class _Noisy:
    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.layers = model.layers

    def __call__(self, inputs: mx.array, cache: Cache) -> mx.array:
        logits = self._model(inputs, cache=cache)
        return logits + mx.random.uniform(-1e-4, 1e-4, logits.shape)


async def read(generation: Generation) -> tuple[list[int], str]:
    tokens: list[int] = []
    text = ""
    async for event in generation.follow():
        if isinstance(event, TextDelta | Finished):
            tokens += event.tokens
        if isinstance(event, TextDelta):
            text += event.text
    assert isinstance(event, Finished) and event.usage.completion_tokens == len(tokens)
    return tokens, text
