"""Tests of checkpoint.sentence, and of tokenizers whose texts are lowered by what it reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.sentence import Texts, texts_of
from registry.checkpoint.tokenizer.load import files, load
from registry.errors import NotAModel
from tests.models.encoder_tokenizers import make_byte_bpe, make_unigram
from tests.models.tiny_encoders import make_wordpiece


def write(folder: Path, name: str, content: Any) -> None:
    (folder / f"sentence_{name}_config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, Texts(None, False)),
        ({"max_seq_length": 128, "do_lower_case": True}, Texts(128, True)),
        ({"max_seq_length": None, "do_lower_case": False}, Texts(None, False)),
        ({"max_seq_length": 0, "do_lower_case": "yes"}, Texts(None, False)),
    ],
)
def test_what_is_said(tmp_path: Path, said: dict[str, Any], expected: Texts) -> None:
    assert texts_of(tmp_path) == Texts(None, False)
    write(tmp_path, "bert", said)
    assert texts_of(tmp_path) == expected


def test_older_files_are_named_by_the_model(tmp_path: Path) -> None:
    """The new name counts first, but one that says nothing."""
    write(tmp_path, "distilbert", {"max_seq_length": 7})
    assert texts_of(tmp_path).max_tokens == 7
    write(tmp_path, "bert", {})
    assert texts_of(tmp_path).max_tokens == 7
    write(tmp_path, "bert", {"max_seq_length": 9})
    assert texts_of(tmp_path).max_tokens == 9


@pytest.mark.parametrize("make", [make_byte_bpe, make_unigram, make_wordpiece])
def test_texts_are_lowered_if_that_is_said(tmp_path: Path, make: Any) -> None:
    """Also where the tokenizer keeps capitals; special tokens stay what they are."""
    make(tmp_path)
    text, mark = "The FOX jumps, \u00dcber", load(tmp_path).id_to_token(2)
    plain = load(tmp_path).encode(text.lower(), add_special_tokens=False).ids
    write(tmp_path, "roberta", {"max_seq_length": 64, "do_lower_case": True})
    lowered = load(tmp_path)
    assert lowered.encode(text, add_special_tokens=False).ids == plain
    assert 2 in lowered.encode(mark, add_special_tokens=False).ids
    assert tmp_path / "sentence_roberta_config.json" in files(tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    make_byte_bpe(tmp_path)
    write(tmp_path, "bert", [7])
    with pytest.raises(NotAModel, match="sentence_bert_config.json is not a JSON object"):
        load(tmp_path)
