"""Tests of runtime.text.splice with real templates and real vocabularies."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from registry.checkpoint.weights import read_header
from registry.convert.gguf.tokenizer import write_tokenizer
from tests.packages import unpacked

from .splice_table import Share, shares
from .test_splice import check_conversations, made

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> list[Share]:
    return list(shares())


def test_answers_come_back_with_every_template_that_keeps_them(found: list[Share]) -> None:
    """To the last token that was drawn; and never fewer than by tokenising all."""
    assert len({share.template for share in found}) > 65
    whole = [share for share in found if not any(share.stops)]
    assert len({share.template for share in whole}) > 45
    for share in whole:
        assert share.whole.spliced == share.whole.earlier, share
    assert sum(share.answers.plain for share in whole) < 0.7 * sum(
        share.answers.spliced for share in whole
    )
    for share in found:
        assert share.whole.spliced >= share.whole.plain, share


def test_where_an_answer_ends_early_the_cause_is_known(found: list[Share]) -> None:
    """Of words that come back as they are: the template leaves out thoughts, or marks them."""
    stops = [stop for share in found if share.kind == "words" for stop in share.stops]
    assert stops.count("") > 120 and stops.count("differs") < 25
    trimmed = [stop for share in found if share.kind == "blanks" for stop in share.stops]
    assert trimmed.count("white_space") > 140


@pytest.mark.parametrize("name", ["gemma-4", "llama-spm", "qwen2"])
def test_real_vocabularies(tmp_path: Path, name: str) -> None:
    """Byte-level of several splits, and SentencePiece's with its bytes."""
    folder = unpacked("llama-cpp-python", "0.3.36", is_source=True)
    (path,) = folder.glob(f"*/vendor/llama.cpp/models/ggml-vocab-{name}.gguf")
    write_tokenizer(read_header(path, with_arrays=True).metadata, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    check_conversations(made(tmp_path, tokenizer), max_examples=40)
