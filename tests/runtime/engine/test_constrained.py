"""Answers under grammars, by a model of random weights: only the grammar can make them right."""

import json
import re
from collections.abc import Sequence

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.requests import AnswerFormat, SamplingParams

from .constrained import Answer, RandomModel
from .json_prefix import JsonPrefix
from .schemas import AWKWARD, SCHEMAS, Schema

MAX_BLANK = 17  # a line's end and an indentation


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RandomModel:
    return RandomModel(tmp_path_factory.mktemp("random") / "model")


def check(answer: Answer, schema: Schema) -> None:
    """Whole answers validate; others are the beginning of one."""
    parser = JsonPrefix()
    assert parser.read(answer.text), answer
    assert parser.longest_blank <= MAX_BLANK
    if answer.reason == "stop":
        jsonschema.validate(json.loads(answer.text), schema)
    else:
        assert answer.reason == "length", answer


def answers(model: RandomModel, schemas: Sequence[Schema], max_tokens: int) -> list[Answer]:
    return model.answers(
        [model.form("json_schema", schema) for schema in schemas], max_tokens=max_tokens
    )


def test_awkward_schemas_are_followed(model: RandomModel) -> None:
    """Each validates, and comes to an end."""
    assert len(AWKWARD) >= 60
    schemas = [schema for schema in AWKWARD for _ in range(3)]
    told = answers(model, schemas, 400)
    for schema, answer in zip(schemas, told, strict=True):
        check(answer, schema)
    finished = [answer.reason == "stop" for answer in told]
    assert sum(finished) > 0.95 * len(finished)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(schemas=st.lists(SCHEMAS, min_size=8, max_size=8))
def test_random_schemas_are_followed(model: RandomModel, schemas: list[Schema]) -> None:
    for schema, answer in zip(schemas, answers(model, schemas, 250), strict=True):
        check(answer, schema)


@pytest.mark.parametrize("max_tokens", range(1, 12))
def test_an_answer_that_is_cut_is_the_beginning_of_one(model: RandomModel, max_tokens: int) -> None:
    """Wherever it is cut; and a whole one that needs all its tokens has not been cut."""
    schema: Schema = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "n": {"type": "number"}},
        "required": ["text", "n"],
        "additionalProperties": False,
    }
    for answer in answers(model, [schema] * 8, max_tokens):
        check(answer, schema)
        assert len(answer.tokens) <= max_tokens


def test_any_object(model: RandomModel) -> None:
    told = model.answers([model.form("json_object")] * 8, max_tokens=60)
    for answer in told:
        check(answer, {"type": "object"})
    assert {answer.text[0] for answer in told} == {"{"}


PATTERNS = [
    "[a-c]{3}",
    "^[a-c]{3}$",
    "yes|no|maybe",
    r"\d{2}/\d{2}",
    r"(foo|ba[rz]) \$",
    "日本|é{2}",
    "(a*)*b{1,2}",
    "(?i)ok",
    "a\nb",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_answer_matches_its_pattern(model: RandomModel, pattern: str) -> None:
    for answer in model.answers([model.form("regex", pattern)] * 4, max_tokens=200):
        assert answer.reason == "stop" and re.fullmatch(pattern, answer.text), answer


def test_an_answer_is_one_of_its_choices(model: RandomModel) -> None:
    """Also where one is the beginning of another, or is nothing at all, or needs quoting."""
    choices = ["a", "ab", "abc", 'say "hi"\n', "日本語", "\\", "tab\t", ""]
    told = model.answers([model.form("choice", choices)] * 24, max_tokens=40)
    assert {answer.reason for answer in told} == {"stop"}
    assert {answer.text for answer in told} <= set(choices)
    assert len({answer.text for answer in told}) > 2


LARK = 'start: "(" WORD ("," WORD)* ")"\nWORD: /[a-z]{1,3}/'
GBNF = 'root ::= "(" word ("," word)* ")"\nword ::= [a-z] [a-z]? [a-z]?'


@pytest.mark.parametrize(("kind", "grammar"), [("lark", LARK), ("gbnf", GBNF)])
def test_an_answer_follows_its_grammar(model: RandomModel, kind: str, grammar: str) -> None:
    told = model.answers([model.form(kind, grammar)] * 8, max_tokens=200)
    for answer in told:
        assert re.match(r"\([a-z]{1,3}(,[a-z]{1,3})*", answer.text)
    assert any(re.fullmatch(r"\([a-z,]*\)", answer.text) for answer in told)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_constrained_rows_answer_the_same_in_any_company(
    model: RandomModel, temperature: float
) -> None:
    """Beside free ones, and beside others with other grammars."""
    forms = [
        model.form("json_schema", AWKWARD[21]),
        AnswerFormat(),
        model.form("regex", "[a-z ]{40,60}"),
        AnswerFormat(),
        model.form("json_schema", AWKWARD[59]),
    ]
    sampling = SamplingParams(temperature, frequency_penalty=0.5, logit_bias={300: 2.0})
    together = model.answers(forms, max_tokens=60, sampling=sampling)
    for number, form in enumerate(forms):
        alone = model.answers([form], max_tokens=60, sampling=sampling, numbers=[number])
        assert alone == [together[number]]


def test_an_answer_goes_on_as_if_it_had_not_been_interrupted(model: RandomModel) -> None:
    """The state of its grammar follows from the tokens drawn, wherever it is set aside."""
    form = model.form("json_schema", AWKWARD[-1])
    whole = model.answers([form], max_tokens=200)[0]
    assert whole.reason == "stop"
    cuts = [whole.tokens[:count] for count in range(1, len(whole.tokens))]
    rests = model.answers([form] * len(cuts), max_tokens=200, numbers=[0] * len(cuts), drawn=cuts)
    for cut, rest in zip(cuts, rests, strict=True):
        assert cut + rest.tokens == whole.tokens
        assert whole.text.endswith(rest.text) and rest.reason == "stop"
