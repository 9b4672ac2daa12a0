"""Tests of runtime.text.pairs: the prompts of a language model that ranks."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from registry.checkpoint.ranking import takes_pairs
from runtime.text.pairs import PairPrompt
from runtime.text.template import TemplateError, template_of
from runtime.text.tokenizer import ModelTokenizer
from tests.models.random_decoders import make_qwen_tokenizer

# Another reranker's, which trims, and has the query before the system's words (zerank-2's order).
TEMPLATE = (
    '{% set query = messages | selectattr("role", "eq", "query") | first %}'
    '{% set document = messages | selectattr("role", "eq", "document") | first %}'
    '{% set asked = messages | selectattr("role", "eq", "system") | first %}'
    "<|im_start|>system\n{{ query.content }}<|im_end|>"
    "<|im_start|>user\n{{ document.content | trim }}<|im_end|>"
    "{{ asked.content if asked else 'yes?' }}"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_qwen_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    return tmp_path


@pytest.fixture
def tokenizer(folder: Path) -> ModelTokenizer:
    return ModelTokenizer(folder)


def prompt(folder: Path, query: str = "who?", instruction: str | None = None) -> PairPrompt:
    return PairPrompt(template_of(folder), ModelTokenizer(folder), query, instruction)


def texts(folder: Path, rows: list[list[int]]) -> list[str]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.decode(row, skip_special_tokens=False) for row in rows]


def test_the_models_own_template_asks(folder: Path) -> None:
    """Each document is rendered as it is, so what the template does to it is done."""
    assert takes_pairs(folder)
    rows = prompt(folder, instruction="Be strict.").tokens(["  a\n", ""], None)
    start = "<|im_start|>system\nwho?<|im_end|><|im_start|>user\n"
    assert texts(folder, rows) == [f"{start}{text}<|im_end|>Be strict." for text in ("a", "")]


@pytest.mark.parametrize("room", [0, 1, 5, 30])
def test_only_the_document_is_cut(folder: Path, tokenizer: ModelTokenizer, room: int) -> None:
    """As many of its tokens stay as there is room for; where there is none, nothing is cut."""
    document = "word for word " * 50
    whole = prompt(folder).tokens([document], None)[0]
    before = len(tokenizer.prompt("<|im_start|>system\nwho?<|im_end|><|im_start|>user\n"))
    after = tokenizer.prompt("<|im_end|>yes?")
    limit = before + room + len(after)
    cut = prompt(folder).tokens([document], limit)[0]
    assert cut == (whole[: before + room] + after if room else whole)


def test_the_mark_of_the_place_may_be_in_the_query(folder: Path) -> None:
    """The place of the document is found by a letter that nobody writes; somebody may."""
    for query in ("\ue000", "\ue000\ue000?"):
        cut = prompt(folder, query).tokens(["word " * 100], 80)[0]
        assert len(cut) == 80 and texts(folder, [cut])[0].endswith("<|im_end|>yes?")


def test_a_template_that_says_a_document_twice_cuts_none(folder: Path) -> None:
    """What to leave out is not known."""
    twice = TEMPLATE + "{{ document.content }}"
    (folder / "chat_template.jinja").write_text(twice)
    assert prompt(folder).tokens(["word"], None)
    with pytest.raises(TemplateError, match="no one place for the document"):
        prompt(folder).tokens(["word " * 100], 60)
