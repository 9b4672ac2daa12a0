"""Tests of what ends an answer, in the engine's own loop."""

from typing import Any

import pytest

from runtime.engine.loader import LoadedModel, load
from runtime.engine_messages import Generate
from runtime.requests import AnswerFormat, SamplingParams
from runtime.text.grammar.lark import OPTIONS
from tests.models.zoo.checkpoints import make
from tests.runtime.engine.looped import Answer, answers

EOS, A = 2, 70
FREE = AnswerFormat()
PROMPT = [9, 80, 81, 33, 54]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(make("llama", tmp_path_factory.mktemp("ends")), lambda done, total: None)


def answer(loaded: LoadedModel, form: AnswerFormat = FREE, **sampling: Any) -> Answer:
    params = SamplingParams(**{"temperature": 0, "max_tokens": 130} | sampling)
    (told,) = answers(loaded, [Generate(1, PROMPT, params, form=form)]).values()
    return told


@pytest.mark.parametrize(
    ("sampling", "num_tokens", "reason"),
    [
        ({}, 1, "stop"),
        ({"min_tokens": 5}, 6, "stop"),
        ({"min_tokens": 200}, 130, "length"),
        ({"ignore_eos": True, "max_tokens": 20}, 20, "length"),
        # Where the end is ignored it is drawn again and again, and that is a repetition.
        ({"ignore_eos": True, "loop_guard": True}, 96, "stop"),
        ({"ignore_eos": True, "stop_token_ids": (EOS,), "min_tokens": 3}, 4, "stop"),
    ],
)
def test_a_model_that_wants_to_end(
    loaded: LoadedModel, sampling: dict[str, Any], num_tokens: int, reason: str
) -> None:
    """Its end is the likeliest token from the first on."""
    told = answer(loaded, logit_bias={EOS: 100}, **sampling)
    assert (len(told.tokens), told.reason) == (num_tokens, reason)


def test_another_token_may_end_it(loaded: LoadedModel) -> None:
    """It is no text, as an end of the model's own is none."""
    told = answer(loaded, logit_bias={A: 100}, stop_token_ids=(A,), min_tokens=2)
    assert len(told.tokens) == 3 and told.tokens[-1] == A and told.reason == "stop"
    without = answer(loaded, max_tokens=2)
    assert told.text.startswith(without.text)
    assert len(answer(loaded, logit_bias={A: 100}, max_tokens=50).tokens) == 50


@pytest.mark.parametrize(
    ("rule", "sampling", "text"),
    [
        ('"abc"', {"min_tokens": 40}, "abc"),
        ('"abc"', {"ignore_eos": True}, "abc"),
        ("/x{3,}/", {"min_tokens": 9, "max_tokens": 12, "logit_bias": {EOS: 50}}, "x" * 9),
    ],
)
def test_what_a_grammar_has_ended_is_over(
    loaded: LoadedModel, rule: str, sampling: dict[str, Any], text: str
) -> None:
    """Nothing more can be said, however many tokens there should be; else they are drawn."""
    told = answer(loaded, AnswerFormat(grammar=f"{OPTIONS}\nstart: {rule}"), **sampling)
    assert told.reason == "stop" and told.text.startswith(text)
