"""Tests of engine.answer.detokenizer: whole characters, and stop sequences across borders."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.tokenizer_utils import load as load_tokenizer

from runtime.engine.answer.detokenizer import Detokenizer, StopMatcher
from tests.models.tiny_models import make_tokenizer


@given(
    text=st.text(alphabet="abc", max_size=40),
    stop=st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=4),
    cuts=st.lists(st.integers(0, 40), max_size=8),
)
def test_pieces_do_not_matter(text: str, stop: list[str], cuts: list[int]) -> None:
    """However the text is cut, what is sent ends before the first stop sequence."""
    matcher = StopMatcher(stop)
    borders = [0, *sorted(cuts), len(text)]
    sent = "".join(matcher.add(text[a:b]) for a, b in zip(borders, borders[1:], strict=False))
    found = [at for s in stop if (at := text.find(s)) >= 0]
    if found:
        assert matcher.is_stopped
        # Cut finely, a longer stop sequence that begins earlier may not be complete yet.
        assert text.startswith(sent) and len(sent) >= min(found)
        assert not any(s in sent for s in stop)
    else:
        assert not matcher.is_stopped
        assert sent + matcher.flush() == text


def test_text_is_held_only_while_it_may_become_a_stop() -> None:
    """What cannot be part of a stop sequence any more goes out at once."""
    matcher = StopMatcher(["END"])
    assert matcher.add("x E") == "x "
    assert matcher.add("N") == ""
    assert matcher.add("T") == "ENT"
    assert matcher.add("E") == ""
    assert matcher.flush() == "E"


@pytest.mark.parametrize(
    "text", ["naïve 🙂🚀 日本語", "Grüße", "plain text\n\n  indented", "👩‍👩‍👧"]
)
def test_no_piece_splits_a_character(tmp_path: Path, text: str) -> None:
    """Fed token by token, every piece is valid text and the pieces make the whole."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load_tokenizer(tmp_path)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    detokenizer = Detokenizer(tokenizer.detokenizer, ())
    pieces = [detokenizer.add(token) for token in tokens]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + detokenizer.finish() == text
    assert len([piece for piece in pieces if piece]) > 1


def test_an_answer_cut_inside_a_character_loses_only_that(tmp_path: Path) -> None:
    """Stopping by length between the bytes of a character sends no broken one."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load_tokenizer(tmp_path)
    tokens = tokenizer.encode("ok 🙂", add_special_tokens=False)
    detokenizer = Detokenizer(tokenizer.detokenizer, ())
    sent = "".join(detokenizer.add(token) for token in tokens[:-1]) + detokenizer.finish()
    assert sent == "ok " or sent == "ok"


def test_text_behind_a_stop_sequence_is_never_sent(tmp_path: Path) -> None:
    """A stop sequence over several tokens ends the text right before it."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load_tokenizer(tmp_path)
    detokenizer = Detokenizer(tokenizer.detokenizer, ("STOP", "##"))
    sent = ""
    for token in tokenizer.encode("one ST two STOP three", add_special_tokens=False):
        sent += detokenizer.add(token)
    assert sent + detokenizer.finish() == "one ST two "
    assert detokenizer.is_stopped
