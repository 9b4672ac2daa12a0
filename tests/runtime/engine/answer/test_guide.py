"""Tests of runtime.engine.answer.guide: what may come next, by a grammar and by a budget."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from runtime.decoding.decoder import Decoder
from runtime.engine.answer.guide import Guide
from runtime.engine.answer.vocabulary import vocabulary_of
from runtime.grammar import GrammarFailed, compile
from tests.models.tiny_models import make_tokenizer

END = 2
OPTIONS = '%llguidance {"no_forcing": true}\n'


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


class Guided:
    """A guide for a vocabulary that is wider than the tokenizer's."""

    def __init__(self, tokenizer: Tokenizer, grammar: str | None, *budget: int) -> None:
        self.size = tokenizer.get_vocab_size() + 40
        vocabulary = vocabulary_of(tokenizer, Decoder(tokenizer), {END}, self.size)
        matcher = None if grammar is None else compile(OPTIONS + grammar, vocabulary)
        self.end = tokenizer.encode("</think>").ids
        self.guide = Guide(matcher, self.end, *budget)
        self._tokenizer = tokenizer

    @property
    def allowed(self) -> list[int]:
        words = np.empty(-(-self.size // 32), dtype=np.uint32)
        self.guide.fill(words)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")[: self.size]
        return np.flatnonzero(bits).tolist()

    def take(self, text: str) -> None:
        for token in self._tokenizer.encode(text).ids:
            self.guide.take(token)


def test_special_tokens_and_what_is_beyond_the_tokenizer_are_no_text(tokenizer: Tokenizer) -> None:
    """Whatever may be said: an end is allowed where the grammar may end, and nowhere else."""
    guided = Guided(tokenizer, "start: /(?s:.)+/")
    size = tokenizer.get_vocab_size()
    assert not {0, 1, END} & set(guided.allowed) and max(guided.allowed) < size
    guided.take("<|im_end|"[:4])
    assert set(guided.allowed) & {0, 1, END} == {END} and max(guided.allowed) < size


def test_a_grammar_is_over_when_nothing_may_follow(tokenizer: Tokenizer) -> None:
    guided = Guided(tokenizer, 'start: "ab" | "abc"')
    guided.take("a")
    assert not guided.guide.is_over and END not in guided.allowed
    guided.take("b")
    assert not guided.guide.is_over and END in guided.allowed
    guided.take("c")
    assert guided.guide.is_over


def test_a_token_that_is_not_allowed_is_an_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(GrammarFailed):
        Guided(tokenizer, 'start: "a"').take("x")


@pytest.mark.parametrize("grammar", [None, 'start: thought "yes"\nthought[lazy]: /.*<\\/think>/'])
def test_thoughts_end_when_their_budget_is_used_up(
    tokenizer: Tokenizer, grammar: str | None
) -> None:
    """Token by token the tag is all that may come; then the answer goes on as it would."""
    guided = Guided(tokenizer, grammar, 3)
    for num_tokens in range(3):
        guided.guide.think(num_tokens)
        assert guided.guide.is_free == (grammar is None)
        guided.take("a")
    for token in guided.end:
        guided.guide.think(3)
        assert not guided.guide.is_free and guided.allowed == [token]
        guided.guide.take(token)
    if grammar is None:
        assert guided.guide.is_free
    else:
        guided.take("yes")
        assert guided.guide.is_over


def test_no_tag_stands_inside_a_character(tokenizer: Tokenizer) -> None:
    """The grammar takes none there, so one more token is thought."""
    guided = Guided(tokenizer, "start: thought\nthought[lazy]: /(?s:.*)<\\/think>/", 1)
    vocabulary = tokenizer.get_vocab()
    first, second = vocabulary["Ã"], vocabulary["Ł"]  # the bytes of ß
    guided.guide.take(first)
    guided.guide.think(1)
    assert guided.allowed != guided.end[:1]
    guided.guide.take(second)
    guided.guide.think(2)
    assert guided.allowed == guided.end[:1]


def test_a_budget_of_nothing_closes_an_open_block_at_once(tokenizer: Tokenizer) -> None:
    guided = Guided(tokenizer, None, 0)
    guided.guide.think(0)
    assert guided.allowed == guided.end[:1]
