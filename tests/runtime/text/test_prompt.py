"""Tests of runtime.text.prompt: what real clients send, to the prompt or to a plain refusal."""

import re
from typing import Any

import pytest

from runtime.text.prompt import ChatPrompt
from runtime.text.template import TemplateError
from runtime.text.tool_turns import ConversationRefused

from . import traits
from .test_conversation import said

CONVERSATIONS = [
    "u:hi", "s:a u:b", "s:a u:b a:c u:d", "s:a u:b a:c s:d u:e", "u:a a:b u:c s:d", "s:a s:b u:c",
    "u:a u:b", "u:a a:b a:c u:d", "a:a u:b", "u:a c: t:b", "s:a u:b c:c t:d a:e u:f",
    "u:a c: t:b u:c", "u:a a:b c: t:c a:d", "s:a u:b c: t:c s:d",
]  # fmt: skip


NAMES = [name for name in vars(traits) if name.isupper() and not name.startswith("_")]


def named(name: str) -> ChatPrompt:
    return ChatPrompt(traits.template(getattr(traits, name)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", CONVERSATIONS)
def test_every_text_comes_out_in_its_order(name: str, text: str) -> None:
    """No template refuses what real clients send, and none loses a word of it."""
    messages = [
        message | {"content": f"({message['content']}{place})"} if message["content"] else message
        for place, message in enumerate(said(text))
    ]
    prompt = named(name).render(messages, {}).text
    place = 0
    for message in messages:
        for words in (message["content"], "f" if message.get("tool_calls") else None):
            if words:
                place = prompt.index(words, place) + len(words)


@pytest.mark.parametrize("text", CONVERSATIONS)
def test_what_fits_is_rendered_as_it_is(text: str) -> None:
    """A template that takes everything is asked once, with the client's own messages."""
    template = traits.template(traits.ANYTHING)
    assert ChatPrompt(template).render(said(text), {}).text == template.render(said(text), {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "NO_LONE_RESULTS",
            "u:a a:b t:c",
            r"messages\[2\] is the result of a tool, but no message",
        ),
        ("NEEDS_USER", "s:a a:b", r"messages\[1\] is the last, and none is of the role 'user'"),
        ("NEEDS_USER", "a:a", r"messages\[0\] is the last, and none is of the role 'user'"),
    ],
)
def test_what_cannot_be_shaped(name: str, text: str, message: str) -> None:
    """The refusal names the message and what the template wants."""
    with pytest.raises(ConversationRefused, match=message):
        named(name).render(said(text), {})


def test_the_templates_own_words() -> None:
    """A rule of its own that nothing was asked about: its words, its message, what it takes."""
    source = traits.turns(traits.refusing("'bad' in (m.content or '')", "No such word"))
    prompt = ChatPrompt(traits.template(source))
    with pytest.raises(ConversationRefused) as caught:
        prompt.render(said("u:a a:b u:bad a:d u:e"), {})
    assert str(caught.value) == (
        "messages[2], of the role 'user', does not fit this model's chat template: it says "
        "'No such word'. It takes system messages anywhere."
    )


def test_no_words_of_jinja() -> None:
    """A template that falls over its own feet is not quoted."""
    prompt = ChatPrompt(traits.template(traits.turns("{{ (m.name or {}).x.y if m.name }}")))
    with pytest.raises(ConversationRefused) as caught:
        prompt.render([*said("u:a a:b"), {"role": "user", "content": "c", "name": "n"}], {})
    assert "messages[2]" in str(caught.value) and "attribute" not in str(caught.value)


def test_a_template_that_refuses_everything() -> None:
    """That is no message's fault, and its own words tell."""
    with pytest.raises(TemplateError, match="^never$") as caught:
        ChatPrompt(traits.template("{{ raise_exception('never') }}")).render(said("u:a"), {})
    assert not isinstance(caught.value, ConversationRefused)


def test_a_rule_that_small_conversations_do_not_show() -> None:
    """Stricter shapes are tried before anything is refused."""
    late = "loop.index0 > 6 and m.role == 'user' and messages[loop.index0 - 1].role == 'user'"
    prompt = ChatPrompt(traits.template(traits.turns(traits.refusing(late, "Not so late"))))
    assert prompt.form.repeats_user
    messages = said("u:a a:b u:c a:d u:e a:f u:g u:h")
    assert "g\n\nh" in prompt.render(messages, {}).text


def test_an_answer_that_must_have_been_thought_of() -> None:
    """As mlx-lm's template of DeepSeek-V3.2 has it: a blank stands for what nobody sent."""
    unthought = "m.role == 'assistant' and loop.last and not m.reasoning_content"
    prompt = ChatPrompt(traits.template(traits.turns(traits.refusing(unthought, "Think"))))
    assert prompt.render(said("u:a a:b"), {}).text == "[user]a[end][assistant]b[end][assistant]"


def test_a_system_message_that_is_lost_now_and_then() -> None:
    """As in Mistral-Nemo's template, which tells it with a user's last turn only."""
    source = (
        "{% for m in messages if m.role != 'system' %}{% if loop.last and m.role == 'user' and "
        "messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
        "[{{ m.role }}]{{ m.content or '' }}{% endfor %}"
    )
    prompt = ChatPrompt(traits.template(source))
    assert prompt.render(said("s:rules u:b"), {}).text == "rules[user]b"
    assert "rules" in prompt.render(said("s:rules u:b a:c"), {}, "continued").text


def test_two_templates() -> None:
    """The one for tools is taken where the default one drops calls, and only for them."""
    default, tools = traits.template(traits.NO_TOOLS), traits.template("T" + traits.ANYTHING)
    prompt = ChatPrompt(default, tools)
    assert not prompt.render(said("u:a"), {}).text.startswith("T")
    assert prompt.render(said("u:a c: t:b"), {}).text.startswith("T")
    assert not ChatPrompt(traits.template(traits.ANYTHING), tools).render(
        said("u:a c: t:b"), {}
    ).text.startswith("T")  # fmt: skip


THINKING = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set c = m.content.split('</think>') %}"
    "[assistant]<think>{{ c[0] | replace('<think>', '') if c | length > 1 else '' }}</think>"
    "{{ c[-1] }}[end]{% else %}[{{ m.role }}]{{ m.content }}[end]{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]<think>{% endif %}"
)


@pytest.mark.parametrize(
    ("source", "content", "end"),
    [
        (traits.ANYTHING, "Sure, ", "[assistant]Sure, "),
        (traits.ANYTHING, "", "[assistant]"),
        (traits.turns(turn="[{{ m.role }}] {{ m.content | trim }}[end]"), "Sure, ",
         "[assistant] Sure,"),
        (THINKING, "Sure", "[assistant]<think></think>Sure"),
        (THINKING, "<think>why</think>Sure", "[assistant]<think>why</think>Sure"),
        (traits.PARTS, "Sure", "[assistant]Sure"),
        (traits.turns(traits.refusing("loop.last and m.role != 'user'", "User last")), "Sure",
         "[assistant]Sure"),
        (traits.turns(turn="{% if not (loop.last and m.role == 'assistant') %}{{ m.content }}"
                           "{% endif %}"), "Sure", "[assistant]Sure"),
        (traits.turns(turn="{{ m.content }}[end][end]\n\n  "), "\ue000", "[assistant]\ue000"),
    ],
)  # fmt: skip
def test_the_last_answer_is_continued(source: str, content: str, end: str) -> None:
    """The prompt ends right behind its words, whatever the template sets behind them."""
    messages: list[dict[str, Any]] = [*said("u:hi"), {"role": "assistant", "content": content}]
    prompt = ChatPrompt(traits.template(source)).render(messages, {}, "continued").text
    assert prompt.endswith(end.removeprefix("[assistant]")) and "hi" in prompt
    if "[{{ m.role }}]" in source:
        assert prompt.endswith(end)


@pytest.mark.parametrize("begin", ["", "<think>\n", "<think>\n\n</think>\n\n", "</think>"])
def test_a_continued_answer_keeps_its_thinking(begin: str) -> None:
    """A template that cuts it off, as of answers that are over, does not get to do so here."""
    source = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] | trim }}[end]"
        "{% endfor %}{% if add_generation_prompt %}[assistant]" + begin + "{% endif %}"
    )
    content = "<think>\nwhy\n</think>\n\nBecau"
    messages = [*said("u:hi"), {"role": "assistant", "content": content}]
    prompt = ChatPrompt(traits.template(source)).render(messages, {}, "continued").text
    assert prompt == "[user]hi[end][assistant]" + content


def test_a_continued_answer_closes_the_thinking() -> None:
    """Where the template refuses an answer that comes last, and begins one with thinking."""
    source = traits.turns(traits.refusing("loop.last and m.role != 'user'", "User last"))
    prompt = ChatPrompt(traits.template(source.replace("[assistant]", "[assistant]<think>")))
    messages = [*said("u:hi"), {"role": "assistant", "content": "Sure"}]
    assert prompt.render(messages, {}, "continued").text.endswith("[assistant]<think></think>Sure")


def test_a_date_that_nobody_gives() -> None:
    """A template that cannot do without one gets that of today."""
    source = "{{ 'It is ' + date_string + '.' + other }}" + traits.ANYTHING
    prompt = ChatPrompt(traits.template(source)).render(said("u:hi"), {}).text
    assert re.match(r"It is \d\d [A-Z]\w+ \d{4}\.\[user", prompt)


def test_nothing_is_added() -> None:
    """Where the client asks for no generation prompt, the last message is the end."""
    assert named("ANYTHING").render(said("u:hi"), {}, "none").text == "[user]hi[end]"


def test_a_system_message_that_is_nowhere() -> None:
    """Told with a user's turn only, and there is none: then it is one."""
    source = (
        "{% for m in messages if m.role != 'system' %}{{ messages[0].content ~ '|' if loop.last "
        "and messages[0].role == 'system' }}{{ m.content }}{% endfor %}"
    )
    assert ChatPrompt(traits.template(source)).render(said("s:rules"), {}).text == "rules"


def test_a_refusal_of_a_continued_answer() -> None:
    """It names the last message, also where nothing stands before it."""
    with pytest.raises(ConversationRefused, match=r"messages\[0\] is the last"):
        named("NEEDS_USER").render(said("a:b"), {}, "continued")
