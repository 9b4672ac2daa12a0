"""Rows are computed alone and in company, and compared: what is equal is exact.

mlx-lm's modules differ in what they stand. Some read the padding of a short prompt into their
state, some take padding for positions, some work with one row only; none of them says so, and most
go wrong without an error. So a few tokens go through the model at load, and the engine uses only
what was exact for it (`Exactness`). The measure is each row alone, as mlx-lm generates it.
"""

import copy
import hashlib
import json
import logging
import math
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import mlx.core as mx
from mlx.nn.layers.base import Module

from registry.checkpoint.config import Config
from registry.checkpoint.exactness import Exactness, Probed
from runtime.engine import device
from runtime.engine.cache import kv_cache
from runtime.engine.cache.kv_cache import MIN_MERGED_TOKENS, Cache, GroupCache
from runtime.engine.language_model import LanguageModel

from .subject import few_layered, in_float32, short_windowed

logger = logging.getLogger(__name__)

_EDITION = 1  # raised when other questions are asked: what was answered before counts no more

# Tokens of each prompt that are read before its last one: the fewest that are merged, some within
# the windows, and some that go past them.
_LENGTHS = (MIN_MERGED_TOKENS, 9, 25)
_PIECES = (14, 4, 7)  # the longest prompt again, in chunks
_NUM_DECODED = 3

# In units of the standard deviation of a row's logits. Of the 141 tiny models of the tests, what is
# exact stays below 3e-5, and what is wrong is above 0.1. Some GPUs multiply float32 in TF32, whose
# rounding is a thousand times coarser.
_TOLERANCE, _TOLERANCE_GPU = 2e-3, 2e-2
# A token on the verge of two experts may be sent to the other one by rounding alone. That is
# chance, and a fault is none: what is wrong is wrong with other tokens too.
ATTEMPTS = 3


def probe(model: Module, config: Config, num_tokens: int, known: Probed | None = None) -> Probed:
    """What is exact for a loaded model; `known` is believed if it is of this build and config.

    `num_tokens` is the size of its vocabulary. Raises ValueError when the model cannot be computed
    on this machine at all.
    """
    key = _key(config)
    if known is not None and known.key == key:
        return known
    _check_computable(cast(LanguageModel, model))
    probed = Probed(key, _exactness(model, config, num_tokens))
    mx.clear_cache()
    return probed


def _key(config: Config) -> str:
    """What the answers depend on: the modules' code, the machine, and the architecture."""
    said = json.dumps(config, sort_keys=True, default=str)
    parts = f"{_EDITION}|{device.fingerprint()}|{said}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _check_computable(model: LanguageModel) -> None:
    """One token, as any answer would need it."""
    try:
        mx.eval(model(mx.array([[1]]), cache=kv_cache.make(model)))
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"models of this architecture cannot be computed on this machine ({device.name()}): "
            f"{reason}"
        ) from error


def _exactness(model: Module, config: Config, num_tokens: int) -> Exactness:
    try:
        subject = short_windowed(model, config)
        if device.compute_dtype() is None:
            subject = in_float32(subject)
    except Exception:  # of a new architecture, say: what cannot be asked is not used
        logger.exception("the model cannot be probed: its rows run alone, each prompt in one piece")
        return Exactness(merged=False, padded=False, chunked=False)
    # What some layers of every kind stand, all of them do. A fault is asked for once more of the
    # whole model, for a module may miss the layers that were left out.
    if _has_no_fault(subject, num_tokens):
        return Exactness()
    return answers(subject, num_tokens)


def _has_no_fault(subject: Module, num_tokens: int) -> bool:
    """Asked of few layers, which costs a few percent of a load instead of half of it."""
    try:
        few = few_layered(subject)
        return few is not None and answers(few, num_tokens) == Exactness()
    except Exception as error:
        logger.info("all layers are asked: %s", error)
        return False


def answers(subject: Module, num_tokens: int, tolerance: float | None = None) -> Exactness:
    """Which ways to compute rows give what each gives alone, but for `tolerance`."""
    if tolerance is None:
        tolerance = _TOLERANCE_GPU if device.is_gpu() else _TOLERANCE
    asked = _Questions(cast(LanguageModel, subject), num_tokens, tolerance)
    merged = kv_cache.is_mergeable(kv_cache.make(subject)) and asked.is_exact(_merged)
    return Exactness(
        merged=merged,
        padded=merged and asked.is_exact(_padded),
        chunked=asked.is_exact(_chunked),
    )


class Work:
    """Prompts, the tokens that are decoded after them, and what each row is alone."""

    def __init__(self, model: LanguageModel, num_tokens: int, seed: int) -> None:
        generator = random.Random(seed)
        self.model = model
        self.prompts = [_draw(generator, num_tokens, length) for length in _LENGTHS]
        self._decoded = [_draw(generator, num_tokens, _NUM_DECODED) for _ in _LENGTHS]
        self._prefilled: list[Cache] = []
        self.alone: list[list[mx.array]] = []  # the logits (vocab,) of each row's steps
        for prompt, decoded in zip(self.prompts, self._decoded, strict=True):
            cache = kv_cache.make(model)
            model(mx.array([prompt]), cache=cache)
            kv_cache.evaluate(cache)
            self._prefilled.append(copy.deepcopy(cache))
            logits = [model(mx.array([[token]]), cache=cache)[0, -1] for token in decoded]
            mx.eval(logits)
            self.alone.append(logits)

    def prefilled(self, row: int) -> GroupCache:
        """A row's cache after its prompt, alone. Each call makes another one."""
        return GroupCache(copy.deepcopy(self._prefilled[row]), 1)

    def difference(self, cache: GroupCache, steps: Sequence[tuple[int, int]]) -> float:
        """One pass, of the given step of every given row: how far it is from the rows alone."""
        tokens = [[self._decoded[row][step]] for row, step in steps]
        logits = self.model(mx.array(tokens), cache=cache.layers)[:, -1]
        alone = mx.stack([self.alone[row][step] for row, step in steps])
        return difference(logits, alone)


_Question: TypeAlias = Callable[[Work], list[float]]


class _Questions:
    """Asks with other tokens where the first were not exact."""

    def __init__(self, model: LanguageModel, num_tokens: int, tolerance: float) -> None:
        self._model = model
        self._num_tokens = num_tokens
        self._tolerance = tolerance
        self._work: list[Work] = []

    def is_exact(self, question: _Question) -> bool:
        for attempt in range(ATTEMPTS):
            try:
                if attempt == len(self._work):
                    self._work.append(Work(self._model, self._num_tokens, attempt))
                differences = question(self._work[attempt])
            except Exception as error:  # a module that only knows a single row
                logger.info("%s: %s", question.__name__, error)
                return False
            logger.info("%s: %s", question.__name__, differences)
            if max(differences) <= self._tolerance:
                return True
        return False


def _merged(work: Work) -> list[float]:
    """Rows join one after the other, and leave one after the other."""
    cache = work.prefilled(0)
    cache.join(work.prefilled(1))
    differences = [work.difference(cache, [(0, 0), (1, 0)])]
    cache.join(work.prefilled(2))
    differences.append(work.difference(cache, [(0, 1), (1, 1), (2, 0)]))
    cache.keep([1, 2])
    differences.append(work.difference(cache, [(1, 2), (2, 1)]))
    cache.keep([1])
    differences.append(work.difference(cache, [(2, 2)]))
    return differences


def _padded(work: Work) -> list[float]:
    """The prompts are read together; then the shortest, which has the most padding, goes on."""
    cache = GroupCache(kv_cache.read_together(work.model, work.prompts), len(work.prompts))
    differences = [work.difference(cache, [(row, 0) for row in range(len(work.prompts))])]
    cache.keep([0])
    differences.append(work.difference(cache, [(0, 1)]))
    return differences


def _chunked(work: Work) -> list[float]:
    """The longest prompt in pieces, longer and shorter than the windows."""
    cache = kv_cache.make(work.model)
    prompt, start = work.prompts[-1], 0
    for count in _PIECES:
        work.model(mx.array([prompt[start : start + count]]), cache=cache)
        kv_cache.evaluate(cache)
        start += count
    row = len(work.prompts) - 1
    return [work.difference(GroupCache(cache, 1), [(row, step)]) for step in range(_NUM_DECODED)]


def _draw(generator: random.Random, num_tokens: int, count: int) -> list[int]:
    return [generator.randrange(num_tokens) for _ in range(count)]


def difference(logits: mx.array, expected: mx.array) -> float:
    """Of (B, vocab), the largest distance of two log-probabilities, in standard deviations."""
    logits, expected = logits.astype(mx.float32), expected.astype(mx.float32)
    logits = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    expected = expected - mx.logsumexp(expected, axis=-1, keepdims=True)
    # Tokens that a model rules out are minus infinity in both.
    distance = mx.where(logits == expected, 0.0, mx.abs(logits - expected)).max(axis=-1)
    spread = mx.where(mx.isfinite(expected), expected, 0.0).std(axis=-1)
    worst = mx.max(distance / spread).item()
    assert isinstance(worst, float)
    return math.inf if math.isnan(worst) else worst
