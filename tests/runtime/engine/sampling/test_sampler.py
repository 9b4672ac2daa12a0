"""Tests of runtime.engine.sampling.sampler: what is drawn, and that company does not change it."""

import math
from collections import Counter

import mlx.core as mx
import pytest

from runtime.engine.sampling.sampler import NUMERICAL_FAULT, Sampler
from runtime.requests import SamplingParams


def draw(logits: mx.array, rows: list[SamplingParams], position: int = 0) -> list[int]:
    tokens: list[int] = Sampler(rows).draw(logits, [position] * len(rows)).tolist()  # type: ignore[assignment]
    return tokens


def test_temperature_zero_is_the_highest_logit() -> None:
    """A greedy row takes the argmax, whatever its seed."""
    logits = mx.array([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    rows = [SamplingParams(0, 1, seed=seed) for seed in (1, 2)]
    assert draw(logits, rows) == [1, 0]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.0, 0.8), (1.5, 0.5)])
def test_frequencies_follow_the_distribution(temperature: float, top_p: float) -> None:
    """Over many positions tokens come as often as softmax and nucleus say, within 4 sigma."""
    logits = [2.0, 1.0, 0.0, -1.0, -2.0]
    weights = [math.exp(x / temperature) for x in logits]
    probabilities = [w / sum(weights) for w in weights]
    nucleus, mass = [], 0.0
    for probability in probabilities:  # they are sorted already
        if mass < top_p:
            nucleus.append(probability)
            mass += probability
    expected = [p / mass for p in nucleus] + [0.0] * (len(logits) - len(nucleus))

    count = 4000
    row = SamplingParams(temperature, top_p, seed=11)
    rows = [row] * count  # one row at many positions, drawn at once
    tokens = Sampler(rows).draw(
        mx.broadcast_to(mx.array(logits), (count, len(logits))), range(count)
    )
    seen = Counter(tokens.tolist())  # type: ignore[arg-type]
    for token, probability in enumerate(expected):
        sigma = math.sqrt(probability * (1 - probability) / count)
        assert abs(seen[token] / count - probability) <= 4 * sigma


@pytest.mark.parametrize("spread", [0.1, 2.0])
@pytest.mark.parametrize("top_p", [0.02, 0.6, 0.95])
def test_a_large_nucleus_is_drawn_by_its_weights(spread: float, top_p: float) -> None:
    """Among a thousand tokens in any order, a few of them impossible: none from outside, and
    every sixth of the nucleus' mass as often as it should be, within 4 sigma."""
    vocab_size, count = 1001, 3000
    mx.random.seed(3)
    logits = mx.random.normal((vocab_size,)) * spread
    logits[::10] = -math.inf
    probabilities: list[float] = mx.softmax(logits).tolist()  # type: ignore[assignment]
    nucleus, mass = [], 0.0
    for token in sorted(range(vocab_size), key=lambda token: -probabilities[token]):
        if mass < top_p:
            nucleus.append(token)
            mass += probabilities[token]
    rows = [SamplingParams(1.0, top_p, seed=5)] * count
    tokens: list[int] = (
        Sampler(rows).draw(mx.broadcast_to(logits, (count, vocab_size)), range(count)).tolist()  # type: ignore[assignment]
    )
    assert set(tokens) <= set(nucleus)
    seen = Counter(tokens)
    for group in (nucleus[start::6] for start in range(min(6, len(nucleus)))):
        expected = sum(probabilities[token] for token in group) / mass
        sigma = math.sqrt(expected * (1 - expected) / count)
        assert abs(sum(seen[token] for token in group) / count - expected) <= 4 * sigma + 1e-9


@pytest.mark.parametrize("vocab_size", [50, 1000, 5000])
@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.3, 0.0])
def test_a_row_draws_the_same_alone_and_in_company(vocab_size: int, top_p: float) -> None:
    """Equal seed and position give the equal token, whoever else is in the batch."""
    mx.random.seed(0)
    # The second row is so flat that its nucleus is nearly everything; the first's is a few.
    logits = mx.random.normal((3, vocab_size)) * mx.array([[4.0], [0.1], [1.0]])
    rows = [
        SamplingParams(0.8, top_p, seed=42),
        SamplingParams(1.3, 0.99, seed=7),
        SamplingParams(0.0, 1.0, seed=7),
    ]
    for position in range(8):
        alone = draw(logits[:1], rows[:1], position)
        assert draw(logits, rows, position)[:1] == alone
        assert draw(logits[mx.array([2, 1, 0])], rows[::-1], position)[-1:] == alone


def test_seeds_and_positions_give_different_streams() -> None:
    """Neighbouring seeds share no stream, nor does a negative seed with its absolute value."""
    logits = mx.zeros((1, 1000))
    streams = {
        tuple(draw(logits, [SamplingParams(1, 1, seed=seed)], at)[0] for at in range(6))
        for seed in (0, 1, 2, -1, -2, 2**63 - 1, -(2**63))
    }
    assert len(streams) == 7


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (1.0, 0.9)])
def test_broken_logits_are_reported_for_their_row_alone(
    poison: float, temperature: float, top_p: float
) -> None:
    """NaN or infinite logits draw the fault marker; the neighbour's token is its own."""
    logits = mx.array([[0.0, poison, 0.0], [0.0, 9.0, 0.0]])
    rows = [SamplingParams(temperature, top_p, seed=1), SamplingParams(0, 1, seed=1)]
    assert draw(logits, rows) == [NUMERICAL_FAULT, 1]


def test_tiny_temperatures_do_not_overflow() -> None:
    """A temperature near zero is greedy, not NaN."""
    rows = [SamplingParams(1e-300, top_p, seed=1) for top_p in (1.0, 0.9)]
    assert draw(mx.array([[1e30, -1e30], [-50.0, 80.0]]), rows) == [0, 1]


@pytest.mark.parametrize("top_p", [0.99, 0.9, 0.5, 0.05])
def test_the_fixed_rounds_find_a_token(top_p: float) -> None:
    """Over a flat distribution, the hardest, fixed rounds all but never fall back on the heaviest
    token: it comes no more often than its share of the nucleus."""
    vocab_size, count = 400, 4000
    logits = mx.zeros((vocab_size,))
    logits[7] = 1e-3
    rows = [SamplingParams(1.0, top_p, seed=3)] * count
    tokens: list[int] = (
        Sampler(rows).draw(mx.broadcast_to(logits, (count, vocab_size)), range(count)).tolist()  # type: ignore[assignment]
    )
    expected = 1 / (top_p * vocab_size)
    sigma = math.sqrt(expected * (1 - expected) / count)
    assert tokens.count(7) / count <= expected + 4 * sigma
