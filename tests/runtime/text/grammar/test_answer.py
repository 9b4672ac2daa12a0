"""Tests of runtime.text.grammar.answer: thoughts, what is said, calls; and what is refused."""

from typing import Any

import pytest

from registry.checkpoint.call_syntax import CallSyntax, Speech, Tags
from runtime.requests import Constraint, Thinking, Tool, ToolUse
from runtime.text.grammar.answer import grammar_of
from runtime.text.grammar.refused import ConstraintRefused

from .following import TRIAL, taken

ABC = Constraint("regex", "[abc]+")
OPEN = Thinking("<think>", "</think>", is_open=True)
CLOSED = Thinking("<think>", "</think>")
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "sure": {"type": "boolean"},
    },
    "required": ["city"],
}
TOOLS = (Tool("get", parameters=CITY, strict=True), Tool("get_all"))
HERMES = CallSyntax(
    section_open="",
    call_open='<tool_call>\n{"name": "',
    name_close='", "arguments": ',
    call_close="}\n</tool_call>",
    section_close="",
    between="\n",
)
TAGGED = CallSyntax(
    section_open="",
    call_open="<tool_call>\n<function=",
    name_close=">\n",
    call_close="</function>\n</tool_call>",
    section_close="",
    between="\n",
    style="tagged",
    tags=Tags("<parameter=", ">\n", "\n</parameter>\n"),
)
PYTHON = CallSyntax(
    section_open="<|call|>[",
    call_open="",
    name_close="(",
    call_close=")",
    section_close="]<|end|>",
    between=", ",
    style="python",
    tags=Tags("", "=", "", ", "),
)
MISTRAL = CallSyntax(
    section_open="",
    call_open="[TOOL_CALLS]",
    name_close="[CALL_ID]{id}[ARGS]",
    call_close="",
    section_close="",
    between="",
)
BARE = CallSyntax(
    section_open="",
    call_open="<|call|>call:",
    name_close="",
    call_close="<|end|>",
    section_close="",
    between="",
    style="bare",
    quote='<|"|>',
)
JSON = CallSyntax(
    section_open="",
    call_open='{"name": "',
    name_close='", "parameters": ',
    call_close="}",
    section_close="",
)


def grammar(
    constraint: Constraint | None = None,
    calls: CallSyntax | None = None,
    use: ToolUse | None = None,
    thinking: Thinking | None = None,
    speech: Speech | None = None,
) -> str | None:
    return grammar_of(thinking, speech, calls, use or ToolUse(), constraint, TRIAL)


def required(calls: CallSyntax, *, name: str | None = None, is_parallel: bool = True) -> str | None:
    return grammar(calls=calls, use=ToolUse(TOOLS, "required", name, is_parallel))


def test_a_free_answer_has_no_grammar() -> None:
    """Thoughts and calls alone constrain nothing."""
    loose = ToolUse((Tool("get", parameters=CITY),))
    assert grammar(calls=HERMES, use=loose, thinking=OPEN) is None
    assert grammar(calls=HERMES, use=ToolUse(TOOLS, "none")) is None
    assert grammar(calls=None, use=ToolUse(TOOLS)) is None


@pytest.mark.parametrize(
    ("thinking", "text", "whole"),
    [
        (OPEN, "why not</think>abc", True),
        (OPEN, "why not</think>\n\nabc", True),
        (OPEN, "a </thin</think>c", True),
        (OPEN, "abc", False),
        (CLOSED, "abc", True),
        (CLOSED, "<think>why</think>\nabc", True),
        (CLOSED, "<think>why", False),
    ],
)
def test_what_is_said_begins_behind_the_thoughts(
    thinking: Thinking, text: str, whole: bool
) -> None:
    assert taken(grammar(ABC, thinking=thinking), text) == (text, whole)


def test_little_white_space_stands_between_thoughts_and_answer() -> None:
    begun, _ = taken(grammar(ABC, thinking=OPEN), "why</think>\n\n\n\n\n\n\n")
    assert begun == "why</think>\n\n\n\n"


def test_marks_around_what_is_said() -> None:
    marked = grammar(ABC, speech=Speech("<|call|>final", "<|end|>"))
    assert taken(marked, "<|call|>finalabc<|end|>") == ("<|call|>finalabc<|end|>", True)
    assert taken(marked, "<|call|>finalabc") == ("<|call|>finalabc", True)
    assert taken(marked, "abc") == ("", False)


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        (HERMES, '<tool_call>\n{"name": "get", "arguments": {"city": "Köln", "days": 3}}\n'
         "</tool_call>"),
        (HERMES, '<tool_call>\n{"name": "get_all", "arguments": {}}\n</tool_call>\n'
         '<tool_call>\n{"name": "get", "arguments": {"city":""}}\n</tool_call>'),
        (TAGGED, "<tool_call>\n<function=get>\n<parameter=city>\nNew\n</par\n</parameter>\n"
         "<parameter=days>\n-3\n</parameter>\n</function>\n</tool_call>"),
        (TAGGED, "<tool_call>\n<function=get_all>\n</function>\n</tool_call>"),
        (PYTHON, '<|call|>[get(city="x", sure=True), get_all(), get(city="y")]<|end|>'),
        (MISTRAL, '[TOOL_CALLS]get[CALL_ID]aB3[ARGS]{"city":"x"}[TOOL_CALLS]get_all[CALL_ID]x'
         "[ARGS]{}"),
        (BARE, '<|call|>call:get{city:<|"|>New "York"<|"|>,days:3,sure:true}<|end|>'),
        (BARE, '<|call|>call:get_all{}<|end|><|call|>call:get{city:<|"|><|"|>}<|end|>'),
        (JSON, '{"name": "get", "parameters": {"city": "x"}}'),
    ],
)  # fmt: skip
def test_calls_in_every_style(calls: CallSyntax, text: str) -> None:
    """As the model writes them, alone and several at once."""
    assert taken(required(calls), text) == (text, True)
    strict = grammar(calls=calls, use=ToolUse(TOOLS))
    assert taken(strict, text) == (text, True)


@pytest.mark.parametrize(
    ("calls", "text", "begun"),
    [
        (HERMES, "Sure", ""),
        (HERMES, '<tool_call>\n{"name": "give', '<tool_call>\n{"name": "g'),
        (HERMES, '<tool_call>\n{"name": "get", "arguments": {"days"',
         '<tool_call>\n{"name": "get", "arguments": {"'),
        (HERMES, '<tool_call>\n{"name": "get", "arguments": {"city": 3',
         '<tool_call>\n{"name": "get", "arguments": {"city": '),
        (TAGGED, "<tool_call>\n<function=get>\n<parameter=days>",
         "<tool_call>\n<function=get>\n<parameter="),
        (TAGGED, "<tool_call>\n<function=get>\n</function>", "<tool_call>\n<function=get>\n<"),
        (PYTHON, "<|call|>[get(city=3", "<|call|>[get(city="),
        (PYTHON, '<|call|>[get(city="x", sure=true', '<|call|>[get(city="x", sure='),
        (BARE, "<|call|>call:get{days", "<|call|>call:get{"),
        (BARE, "<|call|>call:get{city:x", "<|call|>call:get{city:"),
        (JSON, '{"name": "get", "parameters": {"city": "x"}} and', 44),
    ],
)  # fmt: skip
def test_calls_that_are_wrong(calls: CallSyntax, text: str, begun: str | int) -> None:
    """Another function, an argument that is missing, one of another type."""
    expected = text[:begun] if isinstance(begun, int) else begun
    assert taken(required(calls), text)[0] == expected


def test_one_call_where_several_are_not_wanted() -> None:
    call = '<tool_call>\n{"name": "get_all", "arguments": {}}\n</tool_call>'
    assert taken(required(HERMES, is_parallel=False), call + "\n") == (call, True)
    assert taken(required(HERMES), call + "\n") == (call + "\n", False)


def test_a_named_function_is_the_only_one() -> None:
    """Also where another's name begins with its own."""
    text = '<tool_call>\n{"name": "get'
    assert taken(required(HERMES, name="get"), text + "_")[0] == text
    assert taken(required(HERMES, name="get_all"), text + '"')[0] == text


@pytest.mark.parametrize("calls", [HERMES, TAGGED, PYTHON, MISTRAL, BARE, JSON])
def test_strict_functions_leave_the_text_around_their_calls_free(calls: CallSyntax) -> None:
    strict = grammar(calls=calls, use=ToolUse(TOOLS))
    assert taken(strict, "It is <b>{} fine") == ("It is <b>{} fine", True)


def test_a_call_that_has_begun_has_to_go_on() -> None:
    strict = grammar(calls=HERMES, use=ToolUse(TOOLS))
    begun = "I call <tool_call>"
    assert taken(strict, begun + " or not") == (begun, False)
    assert taken(strict, "I call <tool_cal or not") == ("I call <tool_cal or not", True)


def test_functions_that_are_not_strict_take_any_arguments_beside_those_that_are() -> None:
    strict = grammar(calls=HERMES, use=ToolUse((TOOLS[0], Tool("loose", parameters=CITY))))
    text = '<tool_call>\n{"name": "loose", "arguments": {"days": "x"}}\n</tool_call>'
    assert taken(strict, text) == (text, True)


def test_an_answer_is_a_call_or_what_is_constrained() -> None:
    either = grammar(ABC, calls=HERMES, use=ToolUse(TOOLS))
    call = '<tool_call>\n{"name": "get_all", "arguments": {}}\n</tool_call>'
    assert taken(either, "abc") == ("abc", True)
    assert taken(either, call) == (call, True)
    assert taken(either, "abc" + call) == ("abc", True)
    assert taken(grammar(ABC, calls=HERMES, use=ToolUse(TOOLS, "required")), "abc") == ("", False)


def test_white_space_in_json_is_bounded() -> None:
    """A few blanks, or a line's end and an indentation."""
    anything = grammar(Constraint("json_object"))
    pretty = '{\n    "a": [\n        1,\n        {}\n    ]\n}'
    assert taken(anything, pretty) == (pretty, True)
    for blanks, begun in ((" " * 9, 4), ("\n" * 9, 1), ("\n" + " " * 99, 17), ("\t", 0)):
        assert taken(anything, "{" + blanks)[0] == "{" + blanks[:begun]
    assert taken(anything, "{} ") == ("{}", True)


@pytest.mark.parametrize("around", [{}, {"title": "t", "oneOf": [{"type": "string"}]}])
def test_digits_in_json_are_bounded(around: dict[str, Any]) -> None:
    """Also where a number is one of several things, or bounded on one side only."""
    for number, text, begun in (
        ({"type": "integer"}, "9" * 30, 18),
        ({"type": "integer", "minimum": 5}, "8" * 30, 19),
        ({"type": "number"}, "0." + "3" * 30, 12),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "0." + "6" * 30, 12),
        ({"type": "number", "exclusiveMinimum": 0}, "-1", 0),
        ({"type": "integer", "minimum": 10**18}, "1" + "0" * 18, 19),
    ):
        schema: dict[str, Any] = {
            "properties": {"a": number, "b": around},
            "required": ["a"],
            "type": "object",
        }
        told, _ = taken(grammar(Constraint("json_schema", schema)), '{"a":' + text)
        assert told == '{"a":' + text[:begun]


def test_a_key_is_not_said_in_another_way() -> None:
    """What may be any key but `a` is not `a` in disguise; `items` of older drafts are not read."""
    schema: dict[str, Any] = {"properties": {"a": {"type": "null"}}}
    schema |= {"additionalProperties": {"type": "string"}}
    either = grammar(Constraint("json_schema", {"type": "object", **schema}))
    assert taken(either, '{"b":"x"}') == ('{"b":"x"}', True)
    assert taken(either, '{"\\u0061')[0] == '{"\\'
    older: dict[str, Any] = {
        "type": "array",
        "prefixItems": [{"const": 1}],
        "additionalItems": True,
    }
    assert taken(grammar(Constraint("json_schema", older)), "[2")[0] == "["


REFUSED: list[tuple[str, Any, str]] = [
    ("regex", "(", "unclosed group"),
    ("regex", "a(?=b)", "look-around"),
    ("regex", r"(a)\1", "backreferences"),
    ("regex", r"\bword\b", "looks around"),
    ("regex", "x" * 300_000, "300000 characters"),
    ("regex", "[^\\x00-\\u{10ffff}]", "nothing satisfies it"),
    ("lark", "start: nope", "nope"),
    ("lark", "word: /a/", "start"),
    ("lark", "start: a\na: a", "nothing satisfies it"),
    ("lark", 'start: <|nope|> "a"', "unknown special token"),
    ("lark", "start: @nope", "unknown grammar"),
    ("lark", "start: %json {\"type\": \"nope\"}", "nope"),
    ("lark", 5, "a text"),
    ("lark", "", "a text"),
    ("gbnf", "root ::= nope", "nope"),
    ("gbnf", 'root ::= "a', "GBNF"),
    ("choice", [], "a list of texts"),
    ("choice", ["a", 1], "has to be a text"),
    ("choice", ["x" * 300_000], "characters"),
    ("json_schema", {"type": "nope"}, "Invalid type: nope"),
    ("json_schema", {"type": "object", "properties": []}, "properties must be an object"),
    ("json_schema", {"properties": {"a": 5}}, "schema must be an object or boolean"),
    ("json_schema", {"$ref": "#/$defs/nope"}, "does not exist"),
    ("json_schema", {"$ref": "https://example.com/schema.json"}, "nothing is fetched"),
    ("json_schema", {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "satisfies it"),
    ("json_schema", {"not": {"type": "string"}}, 'the keywords "not" are not supported'),
    ("json_schema", {"if": {}, "then": {}}, '"if", "then"'),
    ("json_schema", {"type": "array", "uniqueItems": True}, "uniqueItems"),
    ("json_schema", {"contains": {"type": "null"}}, "contains"),
    ("json_schema", {"dependentRequired": {"a": ["b"]}}, "dependentRequired"),
    ("json_schema", {"unevaluatedProperties": False}, "unevaluatedProperties"),
    ("json_schema", {"propertyNames": {"maxLength": 3}}, "propertyNames"),
    ("json_schema", {"type": "object", "minProperties": 3}, "minProperties"),
    ("json_schema", {"type": "integer", "minimum": 5, "maximum": 3}, "greater than maximum"),
    ("json_schema", {"type": "string", "minLength": 5, "maxLength": 3}, "greater than maxLength"),
    ("json_schema", {"type": "array", "minItems": 5, "maxItems": 3}, "greater than maxItems"),
    ("json_schema", {"type": "string", "format": "date", "maxLength": 5}, "nothing satisfies it"),
    ("json_schema", {"type": "string", "format": "regex"}, '"regex"'),
    ("json_schema", {"type": "string", "pattern": "("}, "no regular expression"),
    ("json_schema", {"type": "number", "multipleOf": 0}, "multiple"),
    ("json_schema", {"enum": []}, "nothing satisfies it"),
    ("json_schema", {"const": "\x01"}, "nothing satisfies it"),
    ("json_schema", {"oneOf": [{"type": "number"}, {"type": "integer"}]}, "overlap"),
    ("json_schema", {"type": "object", "required": ["a"], "additionalProperties": False},
     "unsatisfiable"),
    ("json_schema", {"enum": [[[*range(50)]] * 50] * 40}, "too large"),
    ("json_schema", [], "has to be an object"),
    ("json_schema", {"enum": ["x" * 600_000]}, "characters"),
    ("json_schema", {"properties": {str(key): True for key in range(2000)}}, "2000 properties"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "said"), REFUSED)
def test_what_cannot_be_enforced_is_refused(kind: Any, value: Any, said: str) -> None:
    """In words that say what is wrong, and none of ours or of the grammar around it."""
    with pytest.raises(ConstraintRefused, match=r".") as refused:
        grammar(Constraint(kind, value, "the_field"))
    assert refused.value.param == "the_field"
    assert said in str(refused.value) and len(str(refused.value)) < 400
    assert not any(ours in str(refused.value) for ours in ("x-guidance", "<non-verbose", "%json"))


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


def test_deep_schemas_are_refused_and_not_so_deep_ones_not() -> None:
    assert grammar(Constraint("json_schema", nested(50))) is not None
    for depth in (70, 900):
        with pytest.raises(ConstraintRefused, match="levels"):
            grammar(Constraint("json_schema", nested(depth)))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("regex", "(a*)*b"),
        ("regex", "(a|aa)+$"),
        ("regex", "((a{0,100}){0,100}){0,100}"),
        ("regex", "(.*a){200}"),
        ("regex", r"([\w.]+@)+" * 20),
        ("lark", "start: e\ne: e e | \"a\" | "),
        ("json_schema", {"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}),
        ("json_schema", {"type": "array", "minItems": 10**9}),
        ("json_schema", {"type": "string", "minLength": 10**6, "maxLength": 10**9}),
        ("json_schema", {"enum": [f"number {number}" for number in range(10_000)]}),
        ("json_schema", {"$ref": "#/$defs/29", "$defs": {"0": {"type": "null"}} | {
            str(n): {"allOf": [{"$ref": f"#/$defs/{n - 1}"}] * 2} for n in range(1, 30)}}),
        ("json_schema", {"$ref": "#/$defs/29", "$defs": {"0": {"type": "null"}} | {
            str(n): {"anyOf": [{"$ref": f"#/$defs/{n - 1}"}] * 3} for n in range(1, 30)}}),
    ],
)  # fmt: skip
def test_what_looks_expensive_is_compiled_or_refused(kind: Any, value: Any) -> None:
    """It comes to an end by itself, long before a worker's deadline."""
    try:
        assert grammar(Constraint(kind, value)) is not None
    except ConstraintRefused as refused:
        assert "cannot be enforced" in str(refused)


@pytest.mark.parametrize("calls", [HERMES, TAGGED, PYTHON, BARE])
def test_the_function_that_cannot_be_enforced_is_named(calls: CallSyntax) -> None:
    """A strict one; what is not strict may hold more than can be enforced."""
    odd: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "string", "not": {"const": "x"}}},
    }
    tools = (TOOLS[0], Tool("odd", parameters=odd, strict=True))
    with pytest.raises(ConstraintRefused, match='"odd"') as refused:
        grammar(calls=calls, use=ToolUse(tools))
    assert refused.value.param == "tools[1]"
    loose = (TOOLS[0], Tool("odd", parameters=odd))
    assert grammar(calls=calls, use=ToolUse(loose, "required")) is not None


def test_thousands_of_functions_are_refused_at_once() -> None:
    tools = tuple(Tool(f"f{number}", parameters=CITY) for number in range(10_000))
    with pytest.raises(ConstraintRefused, match="10000") as refused:
        grammar(calls=HERMES, use=ToolUse(tools, "required"))
    assert refused.value.param == "tools"
    assert grammar(calls=HERMES, use=ToolUse(tools, "required", "f77")) is not None
