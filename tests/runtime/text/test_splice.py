"""Tests of runtime.text.splice: what was drawn stays, and nothing else is other than tokenised."""

import itertools
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from runtime.text.splice import Splice, splice
from runtime.text.tokenizer import ModelTokenizer
from runtime.text_messages import Known, Reading
from tests.models.texts import TEXTS
from tests.models.tokenizer_kinds import KINDS, byte_level_bpe

_START, _END, _CALL = "<|start|>", "<|end|>", "<call>"
_MARKS = [
    AddedToken(_START, special=True),
    AddedToken(_END, special=True),
    AddedToken(_END + "\n\n", special=False, normalized=False),
    AddedToken(_CALL, special=False, normalized=False),
    AddedToken("<two words>", special=False, normalized=True),
]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelTokenizer]:
    return {kind: made(tmp_path_factory.mktemp("kind"), make()) for kind, make in KINDS.items()}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    return made(tmp_path_factory.mktemp("model"), byte_level_bpe())


def made(folder: Path, tokenizer: Tokenizer) -> ModelTokenizer:
    tokenizer.add_tokens(_MARKS)
    tokenizer.save(str(folder / "tokenizer.json"))
    return ModelTokenizer(folder)


def known(text: str, read: Splice, *answers: Sequence[int]) -> Known:
    """What is kept of a prompt that was read."""
    marks = _bytes(list(itertools.chain.from_iterable(read.marks)))
    reading = Reading((), text, marks, read.drawn, [])
    return Known(reading, _bytes(read.tokens), [_bytes(answer) for answer in answers])


def _bytes(numbers: Sequence[int]) -> bytes:
    return array("I", numbers).tobytes()


def _list(known: Known | None) -> list[Known]:
    return [] if known is None else [known]


def text_of(tokenizer: ModelTokenizer, tokens: Sequence[int]) -> str:
    return tokenizer.decode(tokens)[0]


def in_letters(tokenizer: ModelTokenizer, text: str) -> list[int]:
    """Its tokens, as nobody would choose them."""
    return [token for letter in text for token in tokenizer.prompt(letter)]


def mark(tokenizer: ModelTokenizer, name: str) -> int:
    id = tokenizer.id_of(name)
    assert id is not None
    return id


@dataclass
class Conversation:
    """Turns, read one after the other as a worker does."""

    tokenizer: ModelTokenizer
    text: str = ""
    known: Known | None = None

    def turn(self, more: str) -> Splice:
        """Read what was said and these words. Raises AssertionError where it went wrong."""
        self.text += f"{_START}user {more}{_END}\n{_START}model\n"
        read = splice(self.tokenizer, self.text, _list(self.known), self.tokenizer.encode)
        plain = self.tokenizer.prompt(self.text)
        assert text_of(self.tokenizer, read.tokens) == text_of(self.tokenizer, plain)
        self.known = known(self.text, read)
        return read

    def answer(self, drawn: Sequence[int], comes_back: str) -> None:
        """The model draws something, and a client sends a text for it."""
        assert self.known is not None
        answers = [_bytes([*drawn, mark(self.tokenizer, _END)])]
        self.known = Known(self.known.reading, self.known.tokens, answers)
        self.text += f"{comes_back}{_END}\n"


def test_drawn_tokens_come_back(tokenizer: ModelTokenizer) -> None:
    """Those of every answer, though none is what its text is tokenised to."""
    talk = Conversation(tokenizer)
    tokens = talk.turn("Hello").tokens
    for answer in ("The quick brown fox", "jumps over the lazy dog", "doesn't it ?"):
        drawn = in_letters(tokenizer, answer)
        talk.answer(drawn, answer)
        read = talk.turn("Go on")
        assert read.tokens != tokenizer.prompt(talk.text)
        expected = [*tokens, *drawn, mark(tokenizer, _END)]
        assert read.tokens[: len(expected)] == expected
        assert read.told.stopped == "" and read.told.reused_drawn_tokens == len(drawn) + 1
        tokens = read.tokens


def test_only_what_follows_the_last_mark_is_tokenised(tokenizer: ModelTokenizer) -> None:
    """From where a turn begins that both have."""
    asked: list[str] = []

    def encode(text: str) -> object:
        asked.append(text)
        return tokenizer.encode(text)

    talk = Conversation(tokenizer)
    for number in range(5):
        talk.turn(f"Say {number}")
        talk.answer(in_letters(tokenizer, "fox"), "fox")
    assert talk.known is not None
    more = f"{talk.text}{_START}user And now?"
    splice(tokenizer, more, [talk.known], encode)  # type: ignore[arg-type]
    assert asked[0].count("Say") <= 1 and asked[0].startswith(_START)
    assert more.endswith(asked[0]) and "And now?" in asked[0]


def test_it_stops_where_the_client_sends_something_else(tokenizer: ModelTokenizer) -> None:
    """As much as comes back stays as it was drawn, and what differs is told."""
    talk = Conversation(tokenizer)
    talk.turn("Hello")
    drawn = in_letters(tokenizer, "The quick brown fox jumps over  ")
    talk.answer(drawn, "The quick red fox jumps over")
    read = talk.turn("Go on")
    assert len(in_letters(tokenizer, "The quick")) <= read.told.reused_drawn_tokens
    assert read.told.stopped == "differs"
    assert read.told.before.endswith("The quick ")
    assert read.told.known.startswith("brown") and read.told.asked.startswith("red")
    rest = tokenizer.prompt(f"red fox jumps over{_END}\n{_START}user Go on{_END}\n{_START}model\n")
    assert read.tokens[-len(rest) + 2 :] == rest[2:]


def test_white_space_that_was_trimmed_costs_no_more_than_itself(tokenizer: ModelTokenizer) -> None:
    talk = Conversation(tokenizer)
    before = talk.turn("Hello").tokens
    drawn = in_letters(tokenizer, "The quick brown fox")
    talk.answer([*drawn, *in_letters(tokenizer, "\n\n  ")], "The quick brown fox")
    assert talk.turn("Go on").tokens[: len(before) + len(drawn)] == [*before, *drawn]


def test_a_thought_that_is_left_out_is_not_made_up(tokenizer: ModelTokenizer) -> None:
    """Then the prompt is what plain tokenising gives."""
    talk = Conversation(tokenizer)
    talk.turn("Hello")
    talk.answer(in_letters(tokenizer, "Hm, what does it want? The quick"), "The quick")
    read = talk.turn("Go on")
    assert read.tokens == tokenizer.prompt(talk.text)
    assert read.told.reused_drawn_tokens == 0


def test_the_answer_that_comes_back_is_found_among_several(tokenizer: ModelTokenizer) -> None:
    talk = Conversation(tokenizer)
    read = talk.turn("Hello")
    answers = [in_letters(tokenizer, text) for text in ("lazy dog", "quick fox", "quick")]
    talk.known = known(talk.text, read, *answers)
    talk.text += f"quick fox{_END}\n"
    expected = [*read.tokens, *answers[1]]
    assert talk.turn("Go on").tokens[: len(expected)] == expected


def test_an_answer_that_was_cut_is_gone_on_with(tokenizer: ModelTokenizer) -> None:
    """In the middle of a word, and of a character, which nobody saw."""
    broken = tokenizer.prompt("🙂")[:1]
    assert text_of(tokenizer, broken) == "\ufffd"
    talk = Conversation(tokenizer)
    before = talk.turn("Hello").tokens
    drawn = in_letters(tokenizer, "The qui")
    assert talk.known is not None
    text = f"{talk.text}The qui"
    talk.known = Known(talk.known.reading, talk.known.tokens, [_bytes(drawn + broken)])
    read = splice(tokenizer, text, [talk.known], tokenizer.encode)
    assert read.tokens == [*before, *drawn] != tokenizer.prompt(text)


def test_a_mark_in_letters_is_no_mark(tokenizer: ModelTokenizer) -> None:
    """A model that spells the end of its turn did not end it: the prompt's own token stays."""
    talk = Conversation(tokenizer)
    before = talk.turn("Hello").tokens
    spelt = [token for letter in _END for token in tokenizer.prompt(letter)]
    drawn = in_letters(tokenizer, "fox")
    talk.answer([*drawn, *spelt], "fox")
    read = talk.turn("Go on")
    expected = [*before, *drawn, mark(tokenizer, _END)]
    assert read.tokens[: len(expected)] == expected


def test_places_are_found_in_the_tokens(tokenizer: ModelTokenizer) -> None:
    """Where the text is cut, and behind every character: never within one."""
    talk = Conversation(tokenizer)
    talk.turn("Hello 🙂")
    talk.answer(in_letters(tokenizer, f"fox {_CALL} naïve"), f"fox {_CALL} naïve")
    read = talk.turn("Grüße 🙂")
    marks = [place for place, token in enumerate(read.tokens) if token in tokenizer.restarts]
    assert [tokens for _, tokens in read.marks] == marks
    for chars, tokens in read.marks:
        assert text_of(tokenizer, read.tokens[:tokens]) == talk.text[:chars]
    start = talk.text.rindex(_START + "user")
    for chars in range(start, len(talk.text) + 1):
        told = text_of(tokenizer, read.tokens[: read.token_at(chars)])
        assert talk.text[:chars].startswith(told) and len(told) >= chars - 8


_PIECES = [
    *("The", " quick", " fox", "don't", "x", "é", "e\u0301", "日本", "🙂", "👩‍👩‍👧", "\ufffd"),
    *(" ", "  ", "\n", "\n\n", "\t", "12", ".", "▁", " .", " do n't", "\r\n"),
    *(_START, _END, _CALL, "<two words>", "<|", "|>"),
]


_CHANGES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "strip": str.strip,
    "lower": str.lower,
}  # of an answer, by a client


@st.composite
def _said(draw: st.DrawFn, without: frozenset[str] = frozenset()) -> str:
    pieces = [piece for piece in _PIECES if piece not in without]
    return "".join(draw(st.lists(st.sampled_from(pieces), max_size=8)))


def check_conversations(tokenizer: ModelTokenizer, max_examples: int) -> None:
    """Turns with answers by chance, in any tokens, that come back as they are or changed."""
    num_tokens = tokenizer._tokenizer.get_vocab_size()

    @settings(max_examples=max_examples, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        talk = Conversation(tokenizer)
        for _ in range(3):
            before = talk.known
            read = talk.turn(data.draw(_said()))
            if before is not None:
                told = [*array("I", before.tokens), *array("I", before.answers[0])]
                size = read.told.reused_tokens
                assert read.tokens[:size] == told[:size]
                rest = read.tokens[size:]
                plain = tokenizer.prompt(talk.text)
                assert rest == plain[len(plain) - len(rest) :]
            if data.draw(st.booleans()):
                drawn = data.draw(st.lists(st.integers(0, num_tokens - 1), max_size=12))
            else:
                cuts = data.draw(st.lists(_said(), max_size=4))
                drawn = [token for piece in cuts for token in tokenizer.prompt(piece)]
            said = text_of(tokenizer, [*read.tokens, *drawn])
            prompt = text_of(tokenizer, read.tokens)
            answer = said[len(prompt) :] if said.startswith(prompt) else said
            change = data.draw(st.sampled_from(["as it is", "strip", "lower"]))
            talk.answer(drawn, _CHANGES[change](answer))

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_drawn_tokens_differs(tokenizers: dict[str, ModelTokenizer], kind: str) -> None:
    """Whatever was drawn, and whatever comes back: decoded, it is the plain prompt."""
    check_conversations(tokenizers[kind], max_examples=25)


@pytest.mark.parametrize("kind", KINDS)
def test_without_answers_it_is_plain(tokenizers: dict[str, ModelTokenizer], kind: str) -> None:
    """Texts that go on from each other at any place, with marks in them and across the border."""
    tokenizer = tokenizers[kind]
    draw = random.Random(5)
    pieces = [*_PIECES, *(text for text in TEXTS if len(text) < 40)]
    for _ in range(60):
        text = f"{_START}user " + "".join(draw.choices(pieces, k=draw.randint(0, 12)))
        told: Known | None = None
        for _ in range(3):
            read = splice(tokenizer, text, _list(told), tokenizer.encode)
            assert read.tokens == tokenizer.prompt(text)
            told = known(text, read)
            text = text[: draw.randint(0, len(text))] if draw.random() < 0.3 else text
            text += "".join(draw.choices(pieces, k=draw.randint(0, 12)))
