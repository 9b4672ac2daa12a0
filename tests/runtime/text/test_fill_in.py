"""Tests of runtime.text.fill_in: a gap in a text as each family of models reads it."""

import pytest

from runtime.text.fill_in import fill_in


class Tokenizer:
    """Its tokens are characters, and some words of their own."""

    def __init__(self, *words: str, beginning: tuple[int, ...] = ()) -> None:
        self._ids = {word: 1000 + number for number, word in enumerate(words)}
        self._beginning = list(beginning)

    def id_of(self, token: str) -> int | None:
        return self._ids.get(token)

    def prompt(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def beginning(self) -> list[int]:
        return self._beginning


@pytest.mark.parametrize(
    "words",
    [
        ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
        ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ],
)
def test_front_behind_and_then_the_gap(words: tuple[str, ...]) -> None:
    tokenizer = Tokenizer(*words, beginning=(7,))
    assert fill_in(tokenizer, "a", "bc") == [7, 1000, ord("a"), 1001, ord("b"), ord("c"), 1002]


def test_where_the_front_comes_last() -> None:
    """Codestral goes on with it."""
    tokenizer = Tokenizer("[PREFIX]", "[SUFFIX]")
    assert fill_in(tokenizer, "a", "b") == [1001, ord("b"), 1000, ord("a")]


def test_a_model_without_such_tokens() -> None:
    assert fill_in(Tokenizer(), "a", "b") is None
    assert fill_in(Tokenizer("<fim_prefix>", "<fim_suffix>"), "a", "b") is None
