"""Tests of Pocket's quality: the shipped weights on a part of what the model card is made of."""

from collections import Counter
from functools import cache

import pytest

from scripts.pocket.quality import (
    SHIPPED,
    WAYS,
    Case,
    Way,
    casual_cases,
    held_out_cases,
    sample_cases,
    score,
)

GREEDY, AS_SERVED, WARM, BITS_8, BITS_4 = WAYS

# The least that Pocket has to reach, greedy; the card has what it does reach.
WANTED = {
    "intents": 0.85,
    "capital": 0.95,
    "its population": 0.95,
    "code": 0.95,
    "I do not know": 0.80,
    "remembered name": 0.60,
}


def some(every: int) -> list[Case]:
    """Every so many cases of each ability that something is wanted of."""
    seen: Counter[str] = Counter()
    chosen = []
    for case in held_out_cases():
        if case.ability in WANTED and seen[case.ability] % every == 0:
            chosen.append(case)
        seen[case.ability] += 1
    return chosen


@cache
def share_of_all(way: Way) -> float:
    """Of a fourth of the questions."""
    cases = some(every=4)
    results = score(SHIPPED, way, cases).values()
    return sum(result.share * result.num_cases for result in results) / len(cases)


def test_the_documentation_is_answered() -> None:
    """All of its sample prompts, greedy."""
    (result,) = score(SHIPPED, GREEDY, list(sample_cases())).values()
    assert result.share == 1, result.misses


@pytest.mark.slow
def test_held_out_questions_are_answered() -> None:
    """The scores that were asked for, on questions that no training has seen."""
    for ability, result in score(SHIPPED, GREEDY, some(every=1)).items():
        assert result.share >= WANTED[ability], (ability, result.misses)


@pytest.mark.slow
def test_the_documentation_s_temperature_costs_little() -> None:
    """At its default of 1.0 three intents of four are still answered to the letter."""
    cases = [case for case in held_out_cases() if case.ability == "intents"]
    (result,) = score(SHIPPED, WARM, cases).values()
    assert result.share >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize(("way", "loss"), [(BITS_8, 0.05), (BITS_4, 0.15)], ids=["8", "4"])
def test_quantising_costs_little(way: Way, loss: float) -> None:
    """What 8 and 4 bits lose of all answers together."""
    assert share_of_all(way) >= share_of_all(GREEDY) - loss


@pytest.mark.slow
@pytest.mark.parametrize("way", [GREEDY, AS_SERVED], ids=["greedy", "as served"])
def test_first_words_mislead_nobody(way: Way) -> None:
    """Nine of ten that no training has seen get a greeting, an offer of help, or "not known"."""
    (result,) = score(SHIPPED, way, list(casual_cases())).values()
    assert result.share >= 0.9, result.misses
