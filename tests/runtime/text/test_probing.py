"""Tests of runtime.text.probing: what small conversations tell of a template."""

import time
from typing import Any

import pytest

from registry.checkpoint.chat_format import ChatFormat
from runtime.text.probing import learn
from runtime.text.template import PythonTemplate

from . import traits


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ANYTHING", {"object_arguments": False}),
        ("BOTH", {"tool_arguments": "string", "object_arguments": True}),
        ("SYSTEM_FIRST", {"system_first": True, "system_repeated": False, "system_between": False,
                          "system_last": False}),
        ("NO_SYSTEM", {"system_first": False, "system_between": False, "repeats_user": True}),
        ("SYSTEM_DROPPED", {"system_first": False, "system_between": False}),
        ("ALTERNATING", {"system_first": True, "system_between": False, "repeats_user": False,
                         "repeats_assistant": False, "starts_with_assistant": False}),
        ("OBJECTS", {"tool_arguments": "object", "string_arguments": True}),
        ("ITEMS", {"tool_arguments": "object", "string_arguments": False}),
        ("NO_NULL", {"no_content": ("empty",)}),
        ("PARTS", {"parts": ("assistant", "system", "user"), "tool_calls": False}),
        ("PARTS_AND_CALLS", {"parts": ("assistant", "system", "tool", "user")}),
        ("NINE", {"call_ids": "nine"}),
        ("KIMI", {"call_ids": "function", "named_results": False}),
        ("NO_CALLS", {"tool_calls": False, "tool_results": True}),
        ("NO_TOOLS", {"tool_calls": False, "tool_results": False, "tools": False}),
        ("ONE_CALL", {"parallel_tool_calls": False}),
        ("NO_LONE_RESULTS", {"lone_results": False}),
        ("WORDS_OR_CALLS", {"content_with_calls": False}),
        ("NEEDS_TOOLS", {"options": {"tools": []}, "tools": True}),
        ("NEEDS_FUNCTIONS", {"options": {"functions": ""}}),
        ("NEEDS_USER", {"starts_with_assistant": True}),
        ("GATHERED", {"system_first": True, "system_repeated": True, "system_between": False,
                      "system_last": False}),
        ("NO_EMPTY", {"filler": " "}),
        ("OWN_LIST", {"tool_calls": True}),
    ],
)  # fmt: skip
def test_one_trait_each(name: str, expected: dict[str, Any]) -> None:
    """What the template does to our words tells what it takes, and no other trait is seen."""
    form = learn(traits.template(getattr(traits, name)))
    assert {key: getattr(form, key) for key in expected} == expected
    plain = {"tools", "options", "calls"} if name != "NEEDS_TOOLS" else {"options", "calls"}
    if name in ("ANYTHING", "OBJECTS", "NINE", "ONE_CALL", "NO_LONE_RESULTS", "OWN_LIST"):
        others = [
            key
            for key in ChatFormat.__struct_fields__
            if key not in {*expected, *plain, "object_arguments"}
        ]
        assert {key: getattr(form, key) for key in others} == {
            key: getattr(ChatFormat(), key) for key in others
        }


def test_a_template_that_refuses_everything() -> None:
    """Nothing is known of it, so it is asked as it stands, and says itself what is wrong."""
    assert learn(traits.template("{{ raise_exception('never') }}")).no_content


def test_a_template_that_does_not_end() -> None:
    """What it takes beside its loop is known; the rest is taken for granted."""
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    source = traits.turns(
        traits.refusing("m.role == 'system'", "none")
        + "{% if m.role == 'tool' %}" + endless + "{% endif %}"
    )  # fmt: skip
    form = learn(traits.template(source))
    assert not form.system_first and form.tool_calls


def test_the_date_of_today_is_no_trait() -> None:
    """Two renders of the same may differ."""

    class Clock:
        names: frozenset[str] = frozenset()
        source = ""

        def render(self, messages: Any, options: Any, *, add_generation_prompt: bool = True) -> str:
            rendered = traits.template(traits.ANYTHING).render(messages, options)
            return f"{time.monotonic_ns()}{rendered}"

    assert learn(Clock()).no_content == ("null", "empty", "absent")


def test_a_template_in_python_is_asked_too(tmp_path: Any) -> None:
    """One like mlx-lm's: it takes strings only, and no system message behind the first."""
    path = tmp_path / "own.py"
    path.write_text("""
import json

def apply_chat_template(messages, add_generation_prompt=False, **kwargs):
    out = ""
    for number, message in enumerate(messages):
        if message["role"] == "system" and number:
            raise ValueError("late")
        out += f"<{message['role']}>{message.get('content') or ''}"
        for call in message.get("tool_calls") or []:
            out += call["function"]["name"] + str(json.loads(call["function"]["arguments"]))
    return out
""")
    form = learn(PythonTemplate(path))
    assert form.system_first and not form.system_between
    assert form.tool_arguments == "string" and form.tool_calls


def test_one_trait_is_shown_in_words() -> None:
    """As /v1/models has it."""
    shown = learn(traits.template(traits.ALTERNATING)).shown()
    assert (shown["system"], shown["alternates"]) == ("first", True)
    assert learn(traits.template(traits.NO_SYSTEM)).shown()["system"] == "none"
    assert learn(traits.template(traits.ANYTHING)).shown()["system"] == "anywhere"
    assert learn(traits.template(traits.ITEMS)).shown()["tool_arguments"] == "object"
