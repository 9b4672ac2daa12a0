"""Tests of responses.sealed_text: what a client keeps comes back as it was, or not at all."""

import base64
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web.api.openai.responses.sealed_text import TooLong, opened, sealed


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_it_comes_back(text: str) -> None:
    assert opened(sealed(text), 10_000) == text


def test_words_of_others_and_damaged_ones_say_nothing() -> None:
    word = sealed("a text")
    for wrong in (
        "",
        "gAAAAB",
        "mlxe1.",
        "mlxe1.!!",
        "mlxe1.é",
        word[:-6],
        word[:8] + "A" + word[9:],
    ):
        assert opened(wrong, 100) in (None, "a text")
    assert opened(word[:-6], 100) is None
    assert opened("mlxe1." + base64.urlsafe_b64encode(zlib.compress(b"\xff")).decode(), 100) is None


def test_what_unfolds_without_end_is_refused() -> None:
    bomb = sealed("x" * 1_000_001)
    assert opened(bomb, 1_000_001) is not None
    for limit in (1_000_000, 1, 0, -5):
        with pytest.raises(TooLong):
            opened(bomb, limit)
