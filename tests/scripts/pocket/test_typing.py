"""Tests of scripts.pocket.typing: sentences as people type them stay what they are about."""

import random

from scripts.pocket.typing import Typist


def test_a_sentence_typed_in_a_hurry_is_never_lost() -> None:
    """Also one mark, one letter or one apostrophe is still something."""
    typist = Typist(random.Random(1))
    for sentence in ("Hello there, how are you?", "?", "'", "k", "Привет!", "👋", "..."):
        assert all(typist.hurried(sentence).strip() for _ in range(300))


def test_it_is_typed_in_many_ways_and_mostly_without_capitals() -> None:
    typist = Typist(random.Random(2))
    typed = [typist.hurried("What's the capital of France?") for _ in range(400)]
    assert len(set(typed)) > 50
    assert sum(text == text.lower() for text in typed) > 300
    assert sum("?" in text for text in typed) < 200


def test_a_slip_changes_one_place_and_no_capitalised_word() -> None:
    typist = Typist(random.Random(3))
    for _ in range(300):
        slipped = typist.slip("hello Zarquon")
        assert slipped.endswith(" Zarquon")
        assert 4 <= len(slipped.removesuffix(" Zarquon")) <= 6
    assert typist.slip("OK") == "OK"
