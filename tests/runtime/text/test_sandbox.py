"""Tests of runtime.text.sandbox: a template changes what is its own, and nothing else."""

import copy
from typing import Any

import pytest

from runtime.text.template import JinjaTemplate, TemplateError

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "x"}], "tool_calls": [{"id": "1"}]}
]


def render(source: str, **options: Any) -> str:
    return JinjaTemplate(source, {}).render(MESSAGES, options)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% set a = [1] %}{% set _ = a.append(2) %}{{ a }}", "[1, 2]"),
        ("{% set n = namespace(a=[]) %}{% set _ = n.a.extend([1, 2]) %}{{ n.a.pop(0) }}", "1"),
        ("{% set a = {} %}{% set _ = a.update(b=1) %}{{ a }}", "{'b': 1}"),
        ("{% set a = dict(b=1) %}{{ a.pop('b') }}{{ a }}", "1{}"),
        ("{% set a = messages | list %}{% set _ = a.append(1) %}{{ a | length }}", "2"),
        ("{% set a = messages[:1] %}{% set _ = a.pop() %}{{ messages | length }}", "1"),
        ("{{ dict.fromkeys('ab', 1) }}{{ namespace(self=2).self }}", "{'a': 1, 'b': 1}2"),
    ],
)
def test_its_own(source: str, expected: str) -> None:
    """Lists and objects that it made, out of what it was given too."""
    assert render(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{{ messages[0].content.pop() }}",
        "{{ messages[0].content[0].clear() }}",
        "{{ messages[0].tool_calls[0].setdefault('x', 1) }}",
        "{% for m in messages | list %}{{ m.pop('role') }}{% endfor %}",
        "{% set a = [] %}{% set _ = a.append(messages[0]) %}{{ a[0].pop('role') }}",
        "{{ tools.append(1) }}",
        "{{ dict.update(messages[0], {'a': 1}) }}",
        "{{ namespace(__class__=dict) }}",
        "{% set n = namespace() %}{% set n._x = 1 %}",
        "{% set a = [] %}{{ a.append.__self__.__class__.__mro__ }}",
        "{% set a = [] %}{{ (a | attr('__class__')).__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
    ],
)
def test_what_it_was_given(source: str) -> None:
    """It is refused, and the messages are as they were."""
    before = copy.deepcopy(MESSAGES)
    with pytest.raises(TemplateError):
        render(source, tools=[])
    assert before == MESSAGES


def test_each_render_has_its_own_inputs() -> None:
    """What was given once is known no longer; what is given now is."""
    template = JinjaTemplate("{{ messages[0].x.append(1) if messages[0].x else 'none' }}", {})
    assert template.render([{"role": "user"}], {}) == "none"
    with pytest.raises(TemplateError):
        template.render([{"role": "user", "x": [0]}], {})


def test_reasoning_has_two_names() -> None:
    """As in transformers, so that gpt-oss's template finds it."""
    message = {"role": "assistant", "content": "", "reasoning_content": "why"}
    source = "{{ messages[0].thinking }} {{ messages[0].reasoning_content }}"
    assert JinjaTemplate(source, {}).render([message], {}) == "why why"
