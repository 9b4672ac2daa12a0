"""Tests of runtime.text.call_ids: ids of nine letters, the same ones at every turn."""

import re

from runtime.text.call_ids import nine_letters, of_functions


def test_the_form() -> None:
    """Nine letters or digits, whatever it was."""
    ids = ["call_abc", "", "ü" * 40, "functions.get:0", "\ud800"]
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", word) for word in nine_letters(ids).values())


def test_an_id_alone_decides() -> None:
    """So the prompt of a longer conversation begins like that of the shorter one."""
    short, long = nine_letters(["call_1"]), nine_letters(["call_0", "call_1", "call_2"])
    assert short["call_1"] == long["call_1"]


def test_one_that_has_the_form_stays() -> None:
    """Also if another one would be told by the same letters."""
    letters = nine_letters(["call_1"])["call_1"]
    both = nine_letters(["call_1", letters])
    assert both[letters] == letters and both["call_1"] != letters


def test_no_two_get_the_same() -> None:
    """Whatever their number."""
    ids = [f"call_{number}" for number in range(5000)]
    assert len(set(nine_letters(ids + ids).values())) == 5000


def test_ids_of_functions() -> None:
    """Counted over the conversation; one that has the form stays, and no two get the same."""
    calls = [("call_a", "f"), ("call_b", "g"), ("functions.f:7", "f"), ("call_a", "h")]
    assert of_functions(calls) == [
        "functions.f:0", "functions.g:1", "functions.f:7", "functions.h:3",
    ]  # fmt: skip
    assert of_functions([("call_a", "f"), ("functions.f:0", "f")])[0] == "functions.f:1"
