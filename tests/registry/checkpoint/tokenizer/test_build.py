"""Tests of checkpoint.tokenizer.build and classes: folders without a tokenizer.json."""

from pathlib import Path

import pytest

from registry.checkpoint.tokenizer.load import load, write
from registry.errors import NotAModel
from tests.models.texts import TEXTS
from tests.models.vocabularies import (
    check_same,
    configure,
    learnt_ranks,
    write_ranks,
)


def test_it_is_written_once_and_the_same(tmp_path: Path) -> None:
    """An import leaves tokenizer.json, so that no later load makes it again."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    write_ranks(source / "tiktoken.model", learnt_ranks())
    configure(source, tokenizer_class="TikTokenTokenizer")
    write(source, target)
    made, written = load(source), load(target)
    check_same(written, lambda text: made.encode(text, add_special_tokens=False).ids, TEXTS)
    assert (source / "tokenizer.json").exists() is False
    (source / "tokenizer.json").write_text("{}")  # who has one is left alone
    (target / "tokenizer.json").unlink()
    write(source, target)
    assert not (target / "tokenizer.json").exists()


@pytest.mark.parametrize("file", ["tokenizer.model", "x.tiktoken", "vocab.json", "vocab.txt"])
def test_what_no_file_says_is_refused(tmp_path: Path, file: str) -> None:
    """A class that is not known may cut texts in any way."""
    (tmp_path / file).write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    configure(tmp_path, tokenizer_class="NovelTokenizerFast")
    with pytest.raises(NotAModel, match=f"{file} does not say .*'NovelTokenizer' is none of"):
        load(tmp_path)


_LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("LlamaTokenizer", {"tokenizer.model": _LFS}, "tokenizer.model is a Git LFS pointer"),
        ("LlamaTokenizer", {"tokenizer.model": "x"}, "is no SentencePiece model"),
        ("QWenTokenizer", {"qwen.tiktoken": "AA== 0\n?? 1\n"}, "damaged: line 2 is not a token"),
        ("QWenTokenizer", {"qwen.tiktoken": "AA== 0\nAQ== 2\n"}, "line 2 does not have the next"),
        ("QWenTokenizer", {"qwen.tiktoken": "AA== 0\n"}, "not every byte is a token"),
        ("ChatGLM4Tokenizer", {"tokenizer.model": None}, "has no special tokens"),
        ("X", {"tekken.json": "{}"}, "tekken.json cannot be used: Object missing required field"),
        ("X", {"tekken.json": "["}, "tekken.json cannot be used"),
        ("GPT2Tokenizer", {"vocab.json": "[]", "merges.txt": ""}, "make no tokenizer"),
        ("GPT2Tokenizer", {"vocab.json": "{}", "merges.txt": "a b"}, "make no tokenizer"),
        ("GPT2Tokenizer", {"vocab.json": "{}"}, "The model has no tokenizer: tokenizer.json, "),
        ("BertTokenizer", {"vocab.txt": "a\nb\n"}, "The vocabulary has no .CLS., which every"),
    ],
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, name: str, files: dict[str, str | None], message: str
) -> None:
    """In one sentence that names it."""
    for file, content in files.items():
        if content is None:
            write_ranks(tmp_path / file, learnt_ranks())
        else:
            (tmp_path / file).write_text(content)
    configure(tmp_path, tokenizer_class=name)
    with pytest.raises(NotAModel, match=message):
        load(tmp_path)
