"""Answers under grammars, by a model of random weights: only the grammar can make them right."""

import json
import re
from collections.abc import Sequence

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.checkpoint.call_syntax import CallSyntax, Tags
from registry.checkpoint.config import Json
from runtime.requests import AnswerFormat, Constraint, SamplingParams, Thinking, Tool, ToolUse

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


@pytest.mark.slow
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
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
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


THINKING = Thinking("<think>", "</think>", is_open=True)


@pytest.mark.parametrize("budget", [0, 1, 20])
@pytest.mark.parametrize("is_free", [True, False])
def test_thoughts_have_a_budget(model: RandomModel, budget: int, is_free: bool) -> None:
    """Then the block is closed, and the answer follows: a random model closes none by itself."""
    grammar = model.grammar(Constraint("json_schema", AWKWARD[21]), thinking=THINKING)
    form = AnswerFormat(
        thinking=THINKING,
        max_reasoning_tokens=budget,
        grammar=None if is_free else grammar,
    )
    tag = len(model.loaded.tokenizer.encode("</think>").ids)
    for answer in model.answers([form] * 6, max_tokens=160):
        assert budget + tag <= answer.num_reasoning <= budget + tag + 3  # inside a character
        assert answer.text
        if not is_free:
            check(answer, AWKWARD[21])


def test_a_grammar_begins_behind_the_thoughts(model: RandomModel) -> None:
    """An optional block is thought or left out; either way what is said is right."""
    thinking = Thinking("<think>", "</think>")
    constraint = Constraint("regex", "[ab]{4}")
    form = AnswerFormat(
        thinking=thinking,
        max_reasoning_tokens=5,
        grammar=model.grammar(constraint, thinking=thinking),
    )
    bias = {token: 12.0 for token in model.loaded.tokenizer.encode("<").ids}
    told = model.answers([form] * 8, sampling=SamplingParams(logit_bias=bias))
    assert all(re.fullmatch("[ab]{4}", answer.text) for answer in told)
    assert any(answer.num_reasoning for answer in told)


HERMES = CallSyntax(
    section_open="",
    call_open='<tool_call>\n{"name": "',
    name_close='", "arguments": ',
    call_close="}\n</tool_call>",
    section_close="",
    between="\n",
)
ARGUMENTS: Schema = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 6}, "days": {"enum": [1, 2, 3]}},
    "required": ["city"],
}
TOOLS = (
    Tool("weather", parameters=ARGUMENTS),
    Tool("weather_map", parameters={"properties": {"zoom": {"type": "boolean"}}}),
    Tool("now"),
)


def calls_of(text: str) -> list[tuple[str, Json]]:
    """By nothing of ours: what is around the calls is whole, and each is one of a tool."""
    pattern = r'<tool_call>\n\{"name": "(\w+)", "arguments": (.*?)\}\n</tool_call>'
    assert re.sub(f"{pattern}\n?", "", text, flags=re.DOTALL) == "", text
    found = re.findall(pattern, text, flags=re.DOTALL)
    return [(name, json.loads(arguments)) for name, arguments in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, "weather"])
@pytest.mark.parametrize("is_parallel", [True, False])
def test_required_calls_are_right(model: RandomModel, name: str | None, is_parallel: bool) -> None:
    """Named ones too; there are several only where the request takes several."""
    use = ToolUse(TOOLS[1:] if name is None else TOOLS, "required", name, is_parallel)
    form = AnswerFormat(grammar=model.grammar(calls=HERMES, use=use))
    parameters = {tool.name: {"type": "object", **tool.parameters} for tool in use.tools}
    told = model.answers([form] * 12, max_tokens=400)
    num_calls = []
    for answer in told:
        if answer.reason == "length" and (is_parallel or name is None):
            continue  # any number of calls may follow, any argument in one
        calls = calls_of(answer.text)
        num_calls.append(len(calls))
        for called, arguments in calls:
            jsonschema.validate(arguments, parameters[called])
            assert name in (None, called)
    assert num_calls
    assert (max(num_calls) > 1) == is_parallel


# Marks that are special tokens of the model, which are no text anywhere else.
MARKED = CallSyntax(
    section_open="<|im_start|>[",
    call_open="",
    name_close="(",
    call_close=")",
    section_close="]<|endoftext|>",
    between=", ",
    style="python",
    tags=Tags("", "=", "", ", "),
)


@pytest.mark.parametrize("syntax", [HERMES, MARKED])
def test_required_calls_are_told_as_calls(model: RandomModel, syntax: CallSyntax) -> None:
    """With nothing said beside them; the answer ends when they are whole."""
    use = ToolUse(TOOLS, "required", "weather", is_parallel=False)
    parameters: dict[str, Json] = {"weather": TOOLS[0].parameters}
    grammar = model.grammar(calls=syntax, use=use)
    form = AnswerFormat(calls=syntax, parameters=parameters, grammar=grammar)
    for answer in model.answers([form] * 8, max_tokens=300):
        assert answer.reason == "tool_calls" and answer.text == ""
        [(name, arguments)] = answer.calls
        assert name == "weather"
        jsonschema.validate(json.loads(arguments), ARGUMENTS)


def test_strict_calls_are_right_once_they_have_begun(model: RandomModel) -> None:
    """A random model begins none by itself, so the mark is drawn for it; free text follows."""
    tools = (Tool("weather", parameters=ARGUMENTS, strict=True),)
    form = AnswerFormat(grammar=model.grammar(calls=HERMES, use=ToolUse(tools)))
    begun = model.loaded.tokenizer.encode("Let me see. <tool_call>").ids
    told = model.answers([form] * 8, max_tokens=200, drawn=[begun] * 8)
    ends = "}\n</tool_call>"
    assert all(ends in answer.text for answer in told)
    for answer in told:
        [(name, arguments)] = calls_of(f"<tool_call>{answer.text.partition(ends)[0]}{ends}")
        assert name == "weather"
        jsonschema.validate(arguments, ARGUMENTS)
    assert any(answer.text.partition(ends)[2].strip() for answer in told)
