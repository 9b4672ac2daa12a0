"""Tests of runtime.engine.answer.follower: what a token says, and when an answer is over."""

from runtime.engine.answer.follower import Follower, Told
from runtime.engine.answer.piece import Piece
from runtime.engine.answer.reader import AnswerReader
from runtime.requests import AnswerFormat
from tests.runtime.engine.numbers import Numbers

from .answers import HERMES, PARAMETERS, Texts


def follower(max_tokens: int, stop: tuple[str, ...] = (), eos: tuple[int, ...] = ()) -> Follower:
    return Follower(AnswerReader(Numbers(), stop), eos, max_tokens)


def test_a_call_is_told_with_the_tokens_that_it_is_made_of() -> None:
    """And replayed, the follower goes on as the one before: numbers, names and text."""
    texts = [
        "Well. ",
        "<tool_",
        "call>",
        '{"name": "stop", ',
        '"arguments": ',
        "{",
        "}",
        "}",
        "",
        "x",
    ]
    form = AnswerFormat(calls=HERMES, parameters=PARAMETERS)

    def fresh() -> Follower:
        return Follower(AnswerReader(Texts(texts), (), form), (8,), 10)

    row = fresh()
    all_told = [row.take(token) for token in range(9)]
    assert [piece.kind for tolds in all_told for piece, _, _ in tolds] == ["text", *["call"] * 2]
    assert [token for tolds in all_told for told in tolds for token in told.tokens] == [*range(7)]
    assert (row.verdict, row.reader.num_calls) == ("tool_calls", 1)
    for place in range(9):
        again = fresh()
        again.replay(range(place))
        pieces = [piece for token in range(place, 9) for piece, _, _ in again.take(token)]
        assert pieces == [piece for tolds in all_told[place:] for piece, _, _ in tolds]
        assert again.verdict == "tool_calls"


def test_an_answer_that_its_length_ends_behind_a_call_is_cut() -> None:
    text = '<tool_call>{"name": "stop", "arguments": {}}</tool_call>'
    form = AnswerFormat(calls=HERMES, parameters=PARAMETERS)
    row = Follower(AnswerReader(Texts([text]), (), form), (8,), 1)
    assert [piece.name for piece, _, _ in row.take(0)] == ["stop"]
    assert row.verdict == "length"


def told(text: str, *tokens: int) -> list[Told]:
    return [Told(Piece("text", text), list(tokens), [])]


def test_the_last_permitted_token_is_told_and_ends_the_answer() -> None:
    """Its text is part of the answer, and the reason is the length."""
    row = follower(2)
    assert row.take(7) == told("7 ", 7)
    assert row.verdict is None
    assert row.take(8) == told("8 ", 8)
    assert row.verdict == "length"
    assert row.num_taken == 2


def test_an_end_of_sequence_token_is_counted_and_makes_no_text() -> None:
    """Also where it is the last permitted one: the model stopped by itself."""
    row = follower(2, eos=(9,))
    row.take(7)
    assert row.take(9) == []
    assert row.verdict == "stop"
    assert row.num_taken == 2


def test_held_back_text_is_told_with_all_its_tokens() -> None:
    """A stop sequence that does not come about lets go of what it held, and its tokens count."""
    row = follower(9, stop=("1 2 4",))
    assert row.take(1) == []
    assert row.verdict is None
    assert row.take(2) == []
    assert row.verdict is None
    assert row.take(3) == told("1 2 3 ", 1, 2, 3)
    assert row.verdict is None


def test_a_stop_sequence_ends_the_answer_before_itself() -> None:
    """Whatever came before it in the same token is told."""
    row = follower(9, stop=(" 2",))
    assert row.take(1) == told("1", 1)
    assert row.verdict is None
    assert row.take(2) == []
    assert row.verdict == "stop"


def test_what_is_held_at_the_end_is_let_go() -> None:
    """No more tokens come, so no stop sequence can come about any more."""
    row = follower(2, stop=("1 2 3",))
    row.take(1)
    assert row.take(2) == told("1 2 ", 1, 2)
    assert row.verdict == "length"
