"""Tests of runtime.text.call_syntax and answer_syntax: how answers are marked, learned from small
templates; what ours say of functions where they know none."""

import json
from typing import Any

import pytest

from registry.checkpoint.call_syntax import CallSyntax, Speech
from registry.checkpoint.config import Json
from runtime.requests import ChatInput, ChatMessage, Thinking, Tool, ToolUse
from runtime.text.answer_format import answer_format
from runtime.text.call_syntax import HERMES, written
from runtime.text.grammar.trial import Trial
from runtime.text.probing import learn
from runtime.text.prompt import ChatPrompt
from runtime.text.tool_turns import ConversationRefused
from tests.runtime.engine.answer.answers import SYNTAXES

from . import traits
from .traits import template

HI: dict[str, Any] = {"role": "user", "content": "hi"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "zwick", "description": "d", "parameters": {"type": "object"}},
}


def writing(syntax: CallSyntax) -> str:
    """A template that writes calls in this way."""
    tags = syntax.tags
    arguments = "{{ c.function.arguments }}"
    pairs = "{% for k, v in c.function.arguments.items() %}"
    if tags is not None:
        value = "'{{ v }}'" if syntax.style == "python" else "{{ v }}"
        between = f"{{% if not loop.last %}}{_filled(tags.between)}{{% endif %}}"
        pair = f"{_filled(tags.key_open)}{{{{ k }}}}{_filled(tags.key_close)}{value}"
        arguments = f"{pairs}{pair}{_filled(tags.value_close)}{between}{{% endfor %}}"
    if syntax.style == "bare":
        pair = f"{{{{ k }}}}:{syntax.quote}{{{{ v }}}}{syntax.quote}"
        comma = "{% if not loop.last %},{% endif %}"
        arguments = f"{{{{ '{{' }}}}{pairs}{pair}{comma}{{% endfor %}}{{{{ '}}' }}}}"
    name_close, call_close = _filled(syntax.name_close), _filled(syntax.call_close)
    one = f"{_filled(syntax.call_open)}{{{{ c.function.name }}}}{name_close}{arguments}{call_close}"
    between = f"{{% if not loop.last %}}{_filled(syntax.between or '')}{{% endif %}}"
    calls = f"{{% for c in m.tool_calls %}}{one}{between}{{% endfor %}}"
    section = f"{_filled(syntax.section_open)}{calls}{_filled(syntax.section_close)}"
    turn = f"{{{{ m.content or '' }}}}{{% if m.tool_calls %}}{section}{{% endif %}}"
    tools = "{% for t in tools or () %}({{ t.function.name }}){% endfor %}"
    turns = traits.turns(turn=f"<|{{{{ m.role }}}}|>{turn}<|over|>")
    return tools + turns.replace("[assistant]", "<|assistant|>")


def _filled(text: str) -> str:
    """A literal in Jinja, with its slots."""
    slots = {"{id}": "c.id", "{index}": "loop.index0", "{name}": "c.function.name", "{key}": "k"}
    text = (
        text.replace("{is_string}", "true").replace("{type}", "string").replace("\n", "{{ '\\n' }}")
    )
    for slot, value in slots.items():
        text = text.replace(slot, f"{{{{ {value} }}}}")
    return text


@pytest.mark.parametrize("name", [name for name in SYNTAXES if name != "objects alone"])
def test_how_calls_are_written_is_learned(name: str) -> None:
    """What is learned writes the same calls as the template."""
    syntax = SYNTAXES[name]
    form = learn(template(writing(syntax)))
    calls: list[tuple[str, dict[str, Json]]] = [("a", {"x": "y", "z": "w"}), ("b", {"x": "y"})]
    assert form.calls is not None
    assert written(form.calls, calls) == written(syntax, calls)
    assert (form.calls.style, form.calls.quote) == (syntax.style, syntax.quote)
    assert form.shown()["tool_format"] == "template"


def test_a_template_of_one_call() -> None:
    source = traits.turns(
        traits.refusing("m.tool_calls and m.tool_calls | length > 1", "One call"),
        turn="<|{{ m.role }}|>{{ m.content or '' }}{% for c in m.tool_calls or () %}"
        '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments }}}'
        "{% endfor %}<|over|>",
    )
    calls = learn(template(source.replace("[assistant]", "<|assistant|>"))).calls
    assert calls is not None and calls.between is None and calls.is_unmarked


THINKING = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content %}START{{ "
    "m.reasoning_content }}END{% endif %}BEGIN{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>OPEN{% endif %}"
)


@pytest.mark.parametrize(
    ("start", "end", "begin", "open"),
    [
        ("<think>\n", "\n</think>\n\n", "", ""),
        ("<think>\n", "\n</think>\n\n", "", "<think>\n"),
        ("<own:think>", "</own:think>", "", ""),
        ("[THINK]", "[/THINK]", "", ""),
        ("<|START_THINKING|>", "<|END_THINKING|>", "", "<|START_THINKING|>"),
        ("<|channel>thought\n", "<channel|>", "", ""),
        ("", "\n[BEGIN FINAL RESPONSE]\n", "", "Here is what I think:\n"),
    ],
)
def test_thoughts_are_learned(start: str, end: str, begin: str, open: str) -> None:
    source = THINKING.replace("START", start).replace("BEGIN", begin).replace("OPEN", open)
    form = learn(template(source.replace("END", end)))
    assert form.thinking is not None
    assert form.thinking == (
        (start or open).strip(" \n") + "\n" * start.endswith("t\n"),
        end.strip(),
    )
    assert form.speech is None


def test_what_is_said_may_be_marked_too() -> None:
    source = (
        THINKING.replace("START", "<|T|>").replace("END", "<|/T|>").replace("OPEN", "")
        .replace("BEGIN", "{{ '<|S|>' if m.role == 'assistant' }}")
        .replace("{{ m.content }}", "{{ m.content }}{{ '<|/S|>' if m.role == 'assistant' }}")
    )  # fmt: skip
    form = learn(template(source))
    assert (form.thinking, form.speech) == (("<|T|>", "<|/T|>"), Speech("<|S|>", "<|/S|>"))


def test_tags_that_only_the_source_names() -> None:
    """It leaves thoughts of past turns out."""
    source = "{# <think> </think> #}" + traits.NO_CALLS
    assert learn(template(source)).thinking == ("<think>", "</think>")
    assert learn(template(traits.NO_CALLS)).thinking is None


@pytest.mark.parametrize(
    ("mark", "opening"),
    [
        ("<tool_call>", '<tool_call>\n{"name": "'),
        ("<|tool_call|>", '<|tool_call|>[{"name": "'),
        ("List of tools: [", "<|tool_call_start|>["),
        ("Tools:", None),
    ],
)
def test_templates_that_only_tell_of_calls(mark: str, opening: str | None) -> None:
    tools = (
        "{% if tools %}" + mark + "{% for t in tools %}{{ t.function.name }}{% endfor %}{% endif %}"
    )
    form = learn(template(tools + traits.NO_CALLS))
    assert (form.calls.opening if form.calls else None) == opening


def test_functions_for_a_template_that_knows_none() -> None:
    """The system tells of them, and of how they are called; what was called is written so too."""
    call = {"id": "1", "type": "function", "function": {"name": "zwick", "arguments": '{"a": 1}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "5"},
    ]
    chat = ChatPrompt(template(traits.NO_TOOLS))
    prompt = chat.render(messages, {"tools": [TOOL]}).text
    assert json.dumps(TOOL["function"]) in prompt and "Be kind." in prompt
    assert '<tool_call>\n{"name": "NAME", "arguments": {"PARAMETER": "VALUE"}}' in prompt
    assert '<tool_call>\n{"name": "zwick", "arguments": {"a": 1}}\n</tool_call>' in prompt
    assert chat.form.shown()["tool_format"] == "default"
    assert "You can call" not in chat.render(messages, {}).text


def test_functions_that_a_template_stumbles_over() -> None:
    """It wants a description: then it is told as one that knows none."""
    source = "{% for t in tools or () %}{{ t.function.description + '' }}{% endfor %}" + traits.BOTH
    tool = {"type": "function", "function": {"name": "zwick", "parameters": {}}}
    prompt = ChatPrompt(template(source)).render(
        [{"role": "user", "content": "hi"}], {"tools": [tool]}
    )
    assert "You can call functions." in prompt.text and "zwick" in prompt.text


@pytest.mark.parametrize("name", ["NO_LONE_RESULTS", "NO_TOOLS"])
def test_a_refusal_beside_functions_names_the_clients_message(name: str) -> None:
    source = getattr(traits, name).replace("[user]", "") + traits.refusing(
        "messages[-1].content == 'bad'", "Bad"
    )
    messages = [dict(HI), {"role": "assistant", "content": "x"}, HI | {"content": "bad"}]
    with pytest.raises(ConversationRefused, match=r"messages\[2\], of the role 'user'"):
        ChatPrompt(template(source)).render(messages, {"tools": [TOOL]})


def test_the_template_for_tools_is_chosen_for_definitions_too() -> None:
    other = writing(SYNTAXES["a list of objects"])
    chat = ChatPrompt(template(traits.NO_TOOLS), template(other))
    messages = [dict(HI)]
    assert chat.render(messages, {"tools": [TOOL]}).text.startswith("(zwick)")
    assert chat.chosen(messages, {"tools": [TOOL]}).form.calls is not None
    assert "zwick" not in chat.render(messages, {}).text


def test_the_form_of_an_answer() -> None:
    """Calls are read where functions were offered; a block may be open where the prompt ends."""
    form = learn(template("{# <think> </think> #}" + traits.NO_TOOLS))
    user = ChatMessage("user", "x")
    offered = ToolUse((Tool("zwick", parameters={"type": "object"}),))
    trial = Trial({})

    def of(input: ChatInput, prompt: str = "[user]x[assistant]") -> Any:
        return answer_format(form, input, prompt, None, trial)

    assert of(ChatInput((user,))).calls is None
    assert of(ChatInput((user,))).thinking == Thinking("<think>", "</think>")
    assert of(ChatInput((user,)), "[assistant]<think>\n").thinking.is_open
    assert not of(ChatInput((user,)), "[assistant]<think>\n\n</think>\n\n").thinking.is_open
    assert of(ChatInput((user,), tool_use=offered)).calls == HERMES
    assert of(ChatInput((user,), tool_use=offered)).parameters == {"zwick": {"type": "object"}}
    none = ToolUse(offered.tools, "none")
    assert of(ChatInput((user,), tool_use=none)).calls is None
    thought = ChatMessage("assistant", "<think>so")
    assert of(ChatInput((user, thought), turn="continued"), "[assistant]<think>so").thinking.is_open
    done = ChatMessage("assistant", "<think>so</think>It")
    assert not of(ChatInput((user, done), turn="continued"), "x").thinking.is_open
