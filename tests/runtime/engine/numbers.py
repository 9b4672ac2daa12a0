"""Batches of rows without a tokenizer: every token is told as its number, and read back."""

import random
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import mlx.core as mx
import msgspec
from mlx_lm.utils import load_model

from runtime.engine.answer.follower import Follower
from runtime.engine.answer.reader import AnswerReader
from runtime.engine.batch.batch import Batch
from runtime.engine.batch.row import Row
from runtime.engine.cache.kv_cache import Cache
from runtime.engine.cache.layers import arrays_of, flat
from runtime.engine.probe.quantised import hold_quantised
from runtime.events import Failed, RowEvent, TextDelta
from runtime.requests import SamplingParams
from tests.models import tiny_models

GREEDY = SamplingParams(temperature=0)


class Recording:
    """The model, and the shapes (rows, tokens) that it was given to read."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.shapes: list[tuple[int, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, inputs: mx.array, cache: Any) -> mx.array:
        self.shapes.append(inputs.shape)
        logits: mx.array = self._model(inputs, cache=cache)
        return logits


class Numbers:
    """Token 17 is the text "17 "."""

    def add(self, token: int) -> str:
        return f"{token} "

    def finish(self) -> str:
        return ""


def row(
    number: int,
    prompt: list[int],
    max_tokens: int,
    sampling: SamplingParams = GREEDY,
    *,
    eos: Collection[int] = (),
    stop: tuple[str, ...] = (),
) -> Row:
    """A row that draws up to `max_tokens`."""
    params = msgspec.structs.replace(
        sampling, max_tokens=max_tokens, stop=stop, seed=sampling.seed or 0
    )
    return Row(number, prompt, params, Follower(AnswerReader(Numbers(), stop), eos, max_tokens))


def tokens_of(events: list[RowEvent]) -> list[tuple[int, int]]:
    """The tokens that the events tell of, each with the id of its row."""
    deltas = (event for event in events if isinstance(event, TextDelta))
    return [(delta.id, int(text)) for delta in deltas for text in delta.text.split()]


def load(folder: Path, architecture: str, **overrides: Any) -> Any:
    """An architecture is "llama", for instance, or "llama_kv8": with its KV cache in 8 bits."""
    architecture, _, kv_bits = architecture.partition("_kv")
    make: Callable[..., Path] = getattr(tiny_models, f"make_{architecture}")
    if not kv_bits:
        return load_model(make(folder, **overrides))[0]
    model = load_model(make(folder, **{"head_dim": 32} | overrides))[0]
    hold_quantised(model, int(kv_bits))
    return model


def rooms(cache: Cache) -> set[int]:
    """Tokens that full layers have room for, padding included."""
    layers = list(flat(cache))
    full = [layer for layer in layers if hasattr(layer, "keys") and not hasattr(layer, "max_size")]
    return {arrays_of(layer)[0].shape[2] for layer in full}


def prompts(lengths: list[int], seed: int = 1, vocab_size: int = 400) -> list[list[int]]:
    generator = random.Random(seed)
    return [[generator.randrange(3, vocab_size) for _ in range(length)] for length in lengths]


def run(batch: Batch) -> dict[int, list[int]]:
    """Step until all rows are done; their tokens by row id."""
    tokens: dict[int, list[int]] = {}
    while batch.num_rows:
        events = batch.step()
        assert not any(isinstance(event, Failed) for event in events), events
        for number, token in tokens_of(events):
            tokens.setdefault(number, []).append(token)
    return tokens


def run_alone(
    model: Any, prompt: list[int], max_tokens: int, sampling: SamplingParams = GREEDY
) -> list[int]:
    batch = Batch(model)
    batch.add(row(0, prompt, max_tokens, sampling))
    return run(batch)[0]
