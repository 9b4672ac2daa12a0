"""Tests of responses.sealed_text: what a client keeps comes back as it was, or not at all."""

import base64
import zlib

from hypothesis import given
from hypothesis import strategies as st

from web.api.openai.responses import sealed_text
from web.api.openai.responses.sealed_text import opened, sealed


@given(st.text())
def test_it_comes_back(text: str) -> None:
    assert opened(sealed(text)) == text


def test_words_of_others_and_damaged_ones_say_nothing() -> None:
    word = sealed("a text")
    for wrong in ("", "gAAAAB", "mlxe1.", "mlxe1.!!", word[:-6], word[:8] + "A" + word[9:]):
        assert opened(wrong) is None or opened(wrong) == "a text"
    assert opened(word[:-6]) is None
    assert opened("mlxe1." + base64.urlsafe_b64encode(zlib.compress(b"\xff")).decode()) is None


def test_what_unfolds_without_end_is_refused() -> None:
    bomb = zlib.compress(bytes(sealed_text._MAX_BYTES + 1), 9)
    assert opened("mlxe1." + base64.urlsafe_b64encode(bomb).decode()) is None
