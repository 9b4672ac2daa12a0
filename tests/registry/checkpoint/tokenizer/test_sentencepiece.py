"""Tests of checkpoint.tokenizer.sentencepiece: the ids and texts of the sentencepiece library."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer

from registry.checkpoint.tokenizer import sentencepiece_model
from registry.checkpoint.tokenizer.sentencepiece import Prefix, build
from registry.errors import NotAModel
from tests.models.sentencepieces import LLAMA, train
from tests.models.texts import TEXTS

_SYMBOLS = {"user_defined_symbols": ["<tool>", "</tool>", "a|b"]}
_RUNS = {"user_defined_symbols": ["<tool>", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁"]}
_KINDS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "llama, symbols": LLAMA | _SYMBOLS | {"control_symbols": ["[CONTROL]"]},
    "gemma": LLAMA | _RUNS | {"add_dummy_prefix": False},
    "no bytes": LLAMA | {"byte_fallback": False},
    "spaces removed": {"normalization_rule_name": "identity"},
    "spaces removed, symbols": {"normalization_rule_name": "identity"} | _SYMBOLS,
    "nmt_nfkc": {},
    "nmt_nfkc, spaces kept": {"remove_extra_whitespaces": False},
    "nfkc and bytes": {"normalization_rule_name": "nfkc", "byte_fallback": True},
    "nfkc_cf": {"normalization_rule_name": "nfkc_cf"},
    "unigram": {"model_type": "unigram"},
    "unigram, bytes": LLAMA | {"model_type": "unigram"},
    "unigram, symbols": {"model_type": "unigram"} | _SYMBOLS,
    "unigram across words": {"model_type": "unigram", "split_by_whitespace": False},
    "characters": {"model_type": "char"},
}


def _pair(
    folder: Path, options: dict[str, Any]
) -> tuple[sentencepiece.SentencePieceProcessor, Tokenizer]:
    content = train(**options)
    (folder / "tokenizer.model").write_bytes(content)
    model = sentencepiece_model.read(folder / "tokenizer.model")
    prefix = Prefix.EVERY_STRETCH if model.add_dummy_prefix else Prefix.NEVER
    return sentencepiece.SentencePieceProcessor(model_proto=content), build(model, prefix)


def _is_only_symbol(text: str, options: dict[str, Any]) -> bool:
    """A text that is one user-defined symbol gets no space here."""
    return text.strip("▁ \n\t") in options.get("user_defined_symbols", ())


# Marks that the library leaves apart: behind a letter that has one, or a control character that
# goes away between them.
_STACKED = re.compile("[\u0301\u0302\x00-\x08][\u0301\u0302]")


@pytest.mark.parametrize("kind", _KINDS)
def test_ids_and_text_are_the_librarys(tmp_path: Path, kind: str) -> None:
    """For each way in which models are trained."""
    options = _KINDS[kind]
    original, tokenizer = _pair(tmp_path, options)
    texts = [text for text in TEXTS if not _is_only_symbol(text, options)]
    texts = [text for text in texts if "</s>" not in text]  # found in a text by us alone
    if "identity" not in options.get("normalization_rule_name", "nmt_nfkc"):
        texts = [text for text in texts if not _STACKED.search(text)]
    assert len(texts) > 200
    for text in texts:
        ids, found = original.encode(text), tokenizer.encode(text, add_special_tokens=False).ids
        if options.get("model_type") == "unigram" and found != ids:
            # "\t\t", "\t" is as likely as "\t", "\t\t": 32 bits decide there, and 64 here.
            assert sorted(found) == sorted(ids), text
            continue
        assert found == ids, text
        if original.unk_id() not in ids:  # the library writes " ⁇ " for it
            assert tokenizer.decode(ids) == original.decode(ids), text


@pytest.mark.parametrize("kind", ["llama", "gemma", "spaces removed", "unigram", "characters"])
def test_any_ids_are_the_librarys_text(tmp_path: Path, kind: str) -> None:
    """Also such as no text has, which a model may draw."""
    original, tokenizer = _pair(tmp_path, _KINDS[kind])
    draw = random.Random(5)
    known = [
        id
        for id in range(original.vocab_size())
        if not (original.is_unknown(id) or original.is_byte(id))
    ]
    for _ in range(200):
        ids = draw.choices(known, k=draw.randint(1, 12))
        assert tokenizer.decode(ids) == original.decode(ids)


def test_a_symbol_alone_has_no_space(tmp_path: Path) -> None:
    """The one text that differs: the library puts a space before it, as before any."""
    original, tokenizer = _pair(tmp_path, _KINDS["llama, symbols"])
    assert original.encode("<tool>", out_type=str) == ["▁", "<tool>"]
    assert tokenizer.encode("<tool>").tokens == ["<tool>"]
    assert tokenizer.encode("<tool>x").tokens[:2] == ["▁", "<tool>"]


def test_the_whole_text_alone_begins_with_a_space(tmp_path: Path) -> None:
    """Newer Llama tokenizers put none behind a special token."""
    (tmp_path / "tokenizer.model").write_bytes(train(**LLAMA))
    model = sentencepiece_model.read(tmp_path / "tokenizer.model")
    first, every = build(model, Prefix.FIRST), build(model, Prefix.EVERY_STRETCH)
    assert first.encode("The</s>The").tokens == ["▁The", "</s>", "The"]
    assert every.encode("The</s>The").tokens == ["▁The", "</s>", "▁The"]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """Cut anywhere and with any byte changed, it is read or refused, and nothing else."""
    content, path = train(**LLAMA), tmp_path / "tokenizer.model"
    draw = random.Random(1)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        if draw.random() < 0.5:
            damaged = damaged[: draw.randrange(len(damaged))]
        else:
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            sentencepiece_model.read(path)
        except NotAModel as error:
            refused += 1
            assert str(error).startswith("tokenizer.model is no SentencePiece model: ")
    assert refused > 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "exactly one of its pieces"),
        (b"<html>404</html>", "tokenizer.model is no SentencePiece model"),
        (b"\xff" * 40, "a number that does not end"),
        (train(treat_whitespace_as_suffix=True), "it puts spaces behind words"),
    ],
)
def test_what_is_no_model(tmp_path: Path, content: bytes, message: str) -> None:
    """It is said what is wrong with the file."""
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(NotAModel, match=message):
        sentencepiece_model.read(tmp_path / "tokenizer.model")


def test_words_are_refused(tmp_path: Path) -> None:
    """A model of whole words is none that a language model has."""
    (tmp_path / "tokenizer.model").write_bytes(train(model_type="word"))
    model = sentencepiece_model.read(tmp_path / "tokenizer.model")
    with pytest.raises(ValueError, match="whole words only"):
        build(model, Prefix.EVERY_STRETCH)
