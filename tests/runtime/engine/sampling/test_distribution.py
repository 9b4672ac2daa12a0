"""Tests of runtime.engine.sampling.sampler: what is drawn has the exact probabilities, by
chi-square tests with a fixed seed."""

import math
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.engine.sampling.sampler import Sampler
from runtime.requests import SamplingParams

_NUM_DRAWS = 8000
_AT_ONCE = 1000  # rows of a draw
_MIN_EXPECTED = 12.0  # in a cell of the test; fewer are counted together
_SIGNIFICANCE = 1e-3

Floats = NDArray[np.float64]


def logits_of(vocab_size: int, seed: int = 3) -> Floats:
    """With many ties, in any order, and some tokens that cannot be drawn."""
    drawn = np.random.default_rng(seed).normal(0, 2, vocab_size)
    logits: Floats = np.round(drawn * 2) / 2
    if vocab_size > 10:
        logits[::9] = -math.inf
    return logits


def exact(logits: Floats, params: SamplingParams) -> Floats:
    """Probabilities by definition: temperature, then min_p, then top_k, then top_p of the rest.

    Of equals at an edge of top_k any may be in: each gets its share of their probability.
    """
    weights = np.exp((logits - logits.max()) / params.temperature)
    weights = np.where(weights >= params.min_p, weights, 0)
    order = np.argsort(-weights, kind="stable")
    sorted_weights = weights[order]
    if params.top_k:
        sorted_weights[params.top_k :] = 0
    before = np.cumsum(sorted_weights) - sorted_weights
    if not params.top_k:  # then equals are in or out together
        _, firsts = np.unique(-weights[order], return_index=True)
        before = before[firsts[np.searchsorted(firsts, np.arange(len(order)), "right") - 1]]
    sorted_weights[before >= params.top_p * sorted_weights.sum() * (1 - 1e-9)] = 0
    kept = np.zeros_like(weights)
    kept[order] = sorted_weights
    if params.top_k:
        for weight in np.unique(weights):
            alike = weights == weight
            kept[alike] = kept[alike].mean()
    probabilities: Floats = kept / kept.sum()
    return probabilities


def draws(logits: Floats, params: SamplingParams, num_draws: int = _NUM_DRAWS) -> NDArray[Any]:
    sampler = Sampler([params] * _AT_ONCE)
    rows = mx.broadcast_to(mx.array(logits.astype(np.float32)), (_AT_ONCE, len(logits)))
    parts = [
        np.array(sampler.draw(rows, range(start, start + _AT_ONCE)))
        for start in range(0, num_draws, _AT_ONCE)
    ]
    return np.concatenate(parts)


def p_value(tokens: NDArray[Any], expected: Floats, cells: NDArray[Any]) -> float:
    """Of Pearson's test, with the tokens counted in these cells."""
    seen = np.bincount(cells[tokens], minlength=cells.max() + 1)
    awaited = np.bincount(cells, weights=expected) * len(tokens)
    order = np.argsort(awaited)
    seen, awaited = seen[order], awaited[order]
    starts, filled = [0], 0.0
    for at, count in enumerate(awaited[:-1]):
        filled += count
        if filled >= _MIN_EXPECTED and awaited[at + 1 :].sum() >= _MIN_EXPECTED:
            starts.append(at + 1)
            filled = 0.0
    observed, hoped = np.add.reduceat(seen, starts), np.add.reduceat(awaited, starts)
    freedom = len(starts) - 1
    if freedom == 0:
        return 1.0
    statistic = float(((observed - hoped) ** 2 / hoped).sum())
    # Wilson and Hilferty: the cube root of chi-square over its freedom is all but normal.
    spread = 2 / (9 * freedom)
    score = ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(score / math.sqrt(2)) / 2


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "cold": {"temperature": 0.6},
    "hot": {"temperature": 1.7},
    "top_p": {"top_p": 0.9},
    "small top_p": {"top_p": 0.3},
    "top_k": {"top_k": 5},
    "large top_k": {"top_k": 60},
    "min_p": {"min_p": 0.05},
    "top_k, top_p": {"top_k": 20, "top_p": 0.8},
    "top_p, min_p": {"top_p": 0.95, "min_p": 0.02},
    "top_k, min_p": {"top_k": 40, "min_p": 0.1},
    "all": {"temperature": 1.3, "top_k": 50, "top_p": 0.9, "min_p": 0.03},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vocab_size", [7, 300, 6000])
def test_what_is_drawn_has_its_exact_probability(vocab_size: int, way: str) -> None:
    """Also where a vocabulary is searched in blocks, with equals and with impossible tokens."""
    params, logits = SamplingParams(seed=17, **WAYS[way]), logits_of(vocab_size)
    expected, tokens = exact(logits, params), draws(logits, params)
    assert (expected[tokens] > 0).all()
    # Equals are told apart by where they stand, so that every part of the vocabulary counts.
    _, alike = np.unique(logits, return_inverse=True)
    parts = min(vocab_size, 16)
    places = np.arange(vocab_size) * parts // vocab_size
    cells = alike if params.top_k else alike * parts + places
    assert p_value(tokens, expected, cells) > _SIGNIFICANCE


@pytest.mark.parametrize(
    ("drawn", "claimed"),
    [
        ({}, {"temperature": 1.1}),
        ({"top_p": 0.9}, {"top_p": 0.75}),
        ({"min_p": 0.03}, {"min_p": 0.06}),
        ({"top_k": 12}, {"top_k": 13}),
    ],
)
def test_the_test_tells_distributions_apart(drawn: dict[str, Any], claimed: dict[str, Any]) -> None:
    """Else it would prove nothing."""
    logits = logits_of(300)
    tokens = draws(logits, SamplingParams(seed=17, **drawn))
    expected = exact(logits, SamplingParams(**claimed))
    _, alike = np.unique(logits, return_inverse=True)
    assert (expected[tokens] == 0).any() or p_value(tokens, expected, alike) < _SIGNIFICANCE


@pytest.mark.parametrize("way", ["plain", "top_p", "top_k", "min_p"])
def test_streams_of_neighbouring_seeds_are_independent(way: str) -> None:
    """What two seeds draw at the same position has the product of their probabilities."""
    logits = logits_of(7)
    one, other = (draws(logits, SamplingParams(seed=seed, **WAYS[way])) for seed in (40, 41))
    expected = exact(logits, SamplingParams(**WAYS[way]))
    pairs = one * 7 + other
    assert p_value(pairs, np.outer(expected, expected).ravel(), np.arange(49)) > _SIGNIFICANCE
