"""Tests of engine.answer.detokenizer: whole characters, also where an answer is cut."""

from pathlib import Path

import pytest
from runtime.engine.answer.detokenizer import Detokenizer

from registry.checkpoint.tokenizer.load import load
from runtime.engine.answer.decoder import Decoder
from tests.models.tiny_models import make_tokenizer


@pytest.mark.parametrize(
    "text", ["naïve 🙂🚀 日本語", "Grüße", "plain text\n\n  indented", "👩‍👩‍👧"]
)
def test_no_piece_splits_a_character(tmp_path: Path, text: str) -> None:
    """Fed token by token, every piece is valid text and the pieces make the whole."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load(tmp_path)
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    detokenizer = Detokenizer(Decoder(tokenizer).stream(), ())
    pieces = [detokenizer.add(token) for token in tokens]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + detokenizer.finish() == text
    assert len([piece for piece in pieces if piece]) > 1


def test_an_answer_cut_inside_a_character_loses_only_that(tmp_path: Path) -> None:
    """Stopping by length between the bytes of a character sends no broken one."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load(tmp_path)
    tokens = tokenizer.encode("ok 🙂", add_special_tokens=False).ids
    detokenizer = Detokenizer(Decoder(tokenizer).stream(), ())
    sent = "".join(detokenizer.add(token) for token in tokens[:-1]) + detokenizer.finish()
    assert sent == "ok " or sent == "ok"


def test_text_behind_a_stop_sequence_is_never_sent(tmp_path: Path) -> None:
    """A stop sequence over several tokens ends the text right before it."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load(tmp_path)
    detokenizer = Detokenizer(Decoder(tokenizer).stream(), ("STOP", "##"))
    sent = ""
    for token in tokenizer.encode("one ST two STOP three", add_special_tokens=False).ids:
        sent += detokenizer.add(token)
    assert sent + detokenizer.finish() == "one ST two "
    assert detokenizer.is_stopped
