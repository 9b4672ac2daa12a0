"""Tests of engine.answer.reader: whole characters, also where an answer is cut."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from registry.checkpoint.call_syntax import CallSyntax
from registry.checkpoint.tokenizer.load import load
from runtime.decoding.decoder import Decoder
from runtime.engine.answer.follower import Follower
from runtime.engine.answer.piece import Piece
from runtime.engine.answer.reader import AnswerReader, marks_of
from runtime.requests import AnswerFormat, Thinking
from runtime.text.call_syntax import written
from tests.models.tiny_models import make_tokenizer

from .answers import HERMES, PARAMETERS, Texts, cuts, read


def text_of(pieces: list[Piece]) -> str:
    assert all(piece.kind == "text" for piece in pieces)
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize(
    "text", ["naïve 🙂🚀 日本語", "Grüße", "plain text\n\n  indented", "👩‍👩‍👧"]
)
def test_no_piece_splits_a_character(tmp_path: Path, text: str) -> None:
    """Fed token by token, every piece is valid text and the pieces make the whole."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load(tmp_path)
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    reader = AnswerReader(Decoder(tokenizer).stream())
    pieces = [text_of(reader.add(token)) for token in tokens]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + text_of(reader.finish()) == text
    assert len([piece for piece in pieces if piece]) > 1


def test_an_answer_cut_inside_a_character_loses_only_that(tmp_path: Path) -> None:
    """Stopping by length between the bytes of a character sends no broken one."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load(tmp_path)
    tokens = tokenizer.encode("ok 🙂", add_special_tokens=False).ids
    reader = AnswerReader(Decoder(tokenizer).stream())
    sent = "".join(text_of(reader.add(token)) for token in tokens[:-1])
    sent += text_of(reader.finish())
    assert sent == "ok " or sent == "ok"


def test_text_behind_a_stop_sequence_is_never_sent(tmp_path: Path) -> None:
    """A stop sequence over several tokens ends the text right before it."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load(tmp_path)
    reader = AnswerReader(Decoder(tokenizer).stream(), ("STOP", "##"))
    sent = ""
    for token in tokenizer.encode("one ST two STOP three", add_special_tokens=False).ids:
        sent += text_of(reader.add(token))
    assert sent + text_of(reader.finish()) == "one ST two "
    assert reader.stopped_by == "STOP"


def test_no_more_calls_than_may_be_made() -> None:
    """The next one ends the answer, and nothing of it is told, wherever the text is cut."""
    calls: list[tuple[str, Any]] = [("look_up", {"town": "Rome"}), ("stop", {})]
    form = AnswerFormat(calls=HERMES, parameters=PARAMETERS, max_calls=1)
    for pieces in cuts(f"Well. {written(HERMES, calls)} Done."):
        answer = read(pieces, form)
        assert answer.parsed == calls[:1] and answer.text.strip() == "Well."
    assert read([written(HERMES, calls[:1]) + " Done."], form).text.strip() == "Done."


def test_a_call_too_many_is_the_end() -> None:
    """The verdict comes with the token that begins it."""
    calls: list[tuple[str, Any]] = [("stop", {}), ("stop", {})]
    text = written(HERMES, calls)
    form = AnswerFormat(calls=HERMES, parameters=PARAMETERS, max_calls=1)
    row = Follower(AnswerReader(Texts(list(text)), (), form), (), len(text))
    for number in range(len(text)):
        row.take(number)
        if row.verdict is not None:
            break
    assert row.verdict == "tool_calls" and number < len(text) - 1


def test_marks_that_are_special_tokens(tmp_path: Path) -> None:
    """They are read as marks, and any other special token is left out."""
    make_tokenizer(tmp_path, vocab_size=300)
    tokenizer = load(tmp_path)
    marks = ["<|think|>", "<|/think|>", "<|call|>", "<|args|>", "<|other|>"]
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    form = AnswerFormat(
        Thinking("<|think|>", "<|/think|>"),
        calls=CallSyntax("", "<|call|>", "<|args|>", "", "", ""),
        parameters={"stop": {}},
    )
    reader = AnswerReader(Decoder(tokenizer).stream(marks_of(form)), (), form)
    text = '<|think|>Hm.<|/think|>So<|other|> <|call|>stop<|args|>{"a": 1}<|other|>'
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    pieces = [piece for token in ids for piece in reader.add(token)] + reader.finish()
    told = {kind: "".join(p.text for p in pieces if p.kind == kind) for kind, *_ in pieces}
    assert told == {"reasoning": "Hm.", "text": "So", "call": '{"a": 1}'}


def test_a_call_that_was_forced_and_is_cut_is_no_text() -> None:
    """Wherever the length cuts it; a whole one before it is told."""
    text = written(HERMES, [("look_up", {"town": "Rome"})])
    form = AnswerFormat(calls=HERMES, parameters=PARAMETERS, is_called=True)
    for end in range(len(text)):
        assert read([text[:end]], form).text == read(list(text[:end]), form).text == ""
        assert read([text, "\n", text[:end]], form).text == ""
