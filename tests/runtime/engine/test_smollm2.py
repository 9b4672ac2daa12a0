"""Tests of the engine with a real model: what it computes is what the file's numbers say."""

import random
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model

from registry.checkpoint.sampling import Recommended, SamplingDefaults
from registry.checkpoint.tokenizer.load import load as load_tokenizer
from registry.store.store import Store
from runtime.engine.batch.batch import Batch
from runtime.engine.sampling.sampler import Sampler
from runtime.requests import SamplingRequest
from tests.models import smollm2
from tests.runtime.engine.numbers import row, run, run_alone, tokens_of

pytestmark = pytest.mark.slow

TEXTS = (
    "The capital of France is",
    "def fibonacci(n: int) -> int:\n    ",
    "1, 2, 3, 4, 5,",
    "Grüße aus Köln!",
)


@pytest.fixture(scope="module")
def folder(smollm2_home: Path) -> Path:
    return Store(smollm2_home).get(smollm2.MODEL_ID).folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    model, _ = load_model(folder)
    model.set_dtype(mx.float32)  # the engine does so on a CPU; the codes stay packed
    return model


@pytest.fixture(scope="module")
def prompts(folder: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(folder)
    return [tokenizer.encode(text).ids for text in TEXTS]


@pytest.mark.parametrize("num_tokens", [1, 2, 20])
def test_logits_are_those_of_the_file(folder: Path, model: Any, num_tokens: int) -> None:
    """By an independent pass in numpy over the numbers that gguf reads, token by token."""
    tokens = load_tokenizer(folder).encode(smollm2.PASSAGE).ids[:num_tokens]
    expected = smollm2.reference().logits(tokens)
    found = np.array(model(mx.array(tokens)[None])[0])
    assert np.abs(found - expected).max() < 0.01
    assert np.array_equal(found.argmax(-1), expected.argmax(-1))


def test_greedy_answers_are_those_of_the_file(model: Any, prompts: list[list[int]]) -> None:
    """Rows of a batch, each token of which is the likeliest after all before it."""
    batch = Batch(model)
    for number, prompt in enumerate(prompts):
        batch.add(row(number, prompt, 8))
    answers = run(batch)
    for number, prompt in enumerate(prompts):
        logits = smollm2.reference().logits(prompt + answers[number][:-1])
        assert logits[len(prompt) - 1 :].argmax(-1).tolist() == answers[number]


def test_the_tail_is_cut_where_nobody_says_anything(model: Any, prompts: list[list[int]]) -> None:
    """What is drawn has a twentieth of the likeliest share at least, unless min_p 0 is sent."""
    count = 400
    silent = SamplingDefaults.of(Recommended(), "default")
    for prompt in prompts:
        logits = model(mx.array(prompt)[None])[:, -1]
        shares = np.array(mx.softmax(logits[0]), np.float64)
        least = {}
        for asked in (SamplingRequest(seed=1), SamplingRequest(min_p=0.0, seed=1)):
            rows = [asked.completed(silent)] * count  # one row, at many positions
            drawn = Sampler(rows).draw(mx.repeat(logits, count, axis=0), range(count))
            least[asked.min_p] = float(shares[np.array(drawn)].min() / shares.max())
        assert least[0.0] < 0.049 < 0.0499 < least[None]


def test_a_row_is_the_same_in_any_company(model: Any, prompts: list[list[int]]) -> None:
    """Rows that join at random steps, one removed half way, equal the rows run alone."""
    generator = random.Random(3)
    alone = [run_alone(model, prompt, 5) for prompt in prompts]
    batch = Batch(model, prefill_chunk_tokens=5)
    tokens: dict[int, list[int]] = {number: [] for number in range(len(prompts))}
    coming = list(enumerate(prompts))
    while coming or batch.num_rows:
        if coming and generator.random() < 0.5:
            number, prompt = coming.pop()
            batch.add(row(number, prompt, 5))
        for number, token in tokens_of(batch.step()):
            tokens[number].append(token)
            if number == 2 and len(tokens[number]) == 3:
                assert batch.remove(number) == []
    for number, expected in enumerate(alone):
        assert tokens[number] == (expected[:3] if number == 2 else expected)
