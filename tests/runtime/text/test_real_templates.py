"""Tests of runtime.text with 70 real chat templates, from a client's body to a worker's tokens.

The oracle is transformers, with the client's own messages wherever it renders these whole.
"""

import datetime
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from transformers.utils import chat_template_utils

from runtime.text import prompt, sandbox
from runtime.text.__main__ import Worker
from runtime.text.call_ids import nine_letters
from runtime.text_questions import TextQuestions
from runtime.text_workers import TextSettings, TextWorkers
from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model

from . import real_templates
from .conversations import (
    CONTINUED,
    EIGHT,
    LONE_RESULT,
    MORE,
    SHAPED,
    Message,
    is_spelled_well,
    is_told,
)
from .real_templates import RealTemplate, request_of

pytestmark = pytest.mark.slow

LAST, ANSWERED = "an answer last", "an answer last, answered"

BODIES: dict[str, dict[str, Any]] = {
    **{name: {"messages": messages} for name, messages in (EIGHT | MORE).items()},
    **{f"continued: {name}": {"messages": messages} for name, messages in CONTINUED.items()},
    ANSWERED: {"messages": EIGHT[LAST], "add_generation_prompt": True},
}


class Noon(datetime.datetime):
    """Some templates write the date: it is the same for both sides."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "Noon":
        return cls(2026, 2, 3, 12, tzinfo=tz)

    @classmethod
    def today(cls) -> "Noon":
        return cls.now()


@pytest.fixture(scope="module", autouse=True)
def date() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "datetime", SimpleNamespace(datetime=Noon))
        patch.setattr(prompt, "datetime", SimpleNamespace(date=Noon))
        patch.setattr(chat_template_utils, "datetime", Noon)
        yield


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RealTemplate]:
    return real_templates.make_all(tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="module")
def replies(
    date: None, templates: dict[str, RealTemplate]
) -> dict[tuple[str, str], list[int] | str]:
    """Tokens or a refusal, by template and conversation."""
    worker = Worker()
    return {
        (template.name, name): template.tokens(worker, body)
        for template in templates.values()
        for name, body in BODIES.items()
    }


@pytest.fixture(scope="module")
def prompts(
    templates: dict[str, RealTemplate], replies: dict[tuple[str, str], list[int] | str]
) -> dict[tuple[str, str], str]:
    """By template and conversation; one that was refused is not there."""
    return {
        key: templates[key[0]].text(reply)
        for key, reply in replies.items()
        if isinstance(reply, list)
    }


def test_nothing_is_refused(replies: dict[tuple[str, str], list[int] | str]) -> None:
    assert len({template for template, _ in replies}) == 70
    assert {key: reply for key, reply in replies.items() if isinstance(reply, str)} == {}


@pytest.mark.parametrize("name", BODIES)
def test_every_text_is_in_the_prompt(prompts: dict[tuple[str, str], str], name: str) -> None:
    """In its order, with the names and the values of calls, and no JSON within JSON."""
    told = {template: text for (template, other), text in prompts.items() if other == name}
    messages = BODIES[name]["messages"]
    assert [template for template, text in told.items() if not is_told(text, messages)] == []
    assert [template for template, text in told.items() if not is_spelled_well(text)] == []


@pytest.mark.parametrize("name", [*(name for name in EIGHT if name != LAST), ANSWERED])
def test_equal_to_transformers(
    templates: dict[str, RealTemplate], prompts: dict[tuple[str, str], str], name: str
) -> None:
    """To the character, wherever it renders the client's own messages whole."""
    messages = BODIES[name]["messages"]
    oracle = {key: template.oracle(messages) for key, template in templates.items()}
    expected = {key: text for key, text in oracle.items() if text is not None}
    assert len(expected) >= 10
    assert {key: prompts[key, name] for key in expected} == expected


@pytest.mark.parametrize("name", SHAPED)
def test_what_is_shaped_is_still_the_templates_own(
    templates: dict[str, RealTemplate],
    prompts: dict[tuple[str, str], str],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Elsewhere it is what transformers renders of messages that say the same: folded, joined,
    with arguments as an object, with ids of nine letters, with calls in words."""
    differ = [key for key, template in templates.items() if template.oracle(EIGHT[name]) is None]
    # Kimi-K2 appends to a list of its own, which transformers' sandbox forbids.
    is_safe = SandboxedEnvironment.is_safe_attribute
    monkeypatch.setattr(ImmutableSandboxedEnvironment, "is_safe_attribute", is_safe)
    assert differ
    for key in differ:
        assert any(prompts[key, name] == text for text in renderings(templates[key], name)), key


def renderings(template: RealTemplate, name: str) -> Iterator[str | None]:
    """What transformers makes of messages that say the same."""
    options: list[dict[str, Any]] = [
        {},
        {"tools": []},
        {"functions": "", "datetime": "03 February 2026"},
    ]
    changes = itertools.product(
        (same, with_empty_text, without_content), (same, with_nine_letters), (same, with_objects)
    )
    told = itertools.product([EIGHT[name], *SHAPED[name]], changes, options)
    for messages, (words, ids, arguments), given in told:
        changed = [arguments(ids(words(message))) for message in messages]
        yield template.oracle(changed, **given)


def same(message: Message) -> Message:
    return message


def with_empty_text(message: Message) -> Message:
    return message | {"content": message["content"] or ""}


def without_content(message: Message) -> Message:
    return {key: value for key, value in message.items() if key != "content" or value}


def with_objects(message: Message) -> Message:
    calls = [
        call
        | {"function": call["function"] | {"arguments": json.loads(call["function"]["arguments"])}}
        for call in message.get("tool_calls", ())
    ]
    return message | {"tool_calls": calls} if calls else message


def with_nine_letters(message: Message) -> Message:
    calls = [call | nine(call, "id") for call in message.get("tool_calls", ())]
    message = message | {"tool_calls": calls} if calls else message
    return message | nine(message, "tool_call_id")


def nine(value: Message, key: str) -> Message:
    return {key: nine_letters([value[key]])[value[key]]} if key in value else {}


@pytest.mark.parametrize("name", CONTINUED)
def test_an_answer_that_comes_last_is_continued(
    templates: dict[str, RealTemplate], prompts: dict[tuple[str, str], str], name: str
) -> None:
    """The prompt ends with its text, whose last blanks some templates cut; it is transformers' own
    continuation wherever that is whole."""
    messages = CONTINUED[name]
    said = messages[-1]["content"]
    options = {"add_generation_prompt": False, "continue_final_message": True}
    for key, template in templates.items():
        text = prompts[key, f"continued: {name}"]
        assert text.endswith((said, said.rstrip())), key
        expected = template.oracle(messages, **options)
        assert expected is None or text.rstrip() == expected.rstrip(), key


# Of those that write no date: a process of its own has its own clock.
LONE = "MiniMax-M2"  # needs the call of a result
CHOSEN = (LONE, "google-gemma-2-2b-it", "mistralai-Mistral-Nemo-Instruct-2407", "Qwen3.5-4B")


async def test_by_a_worker_process(
    templates: dict[str, RealTemplate], replies: dict[tuple[str, str], list[int] | str]
) -> None:
    workers = TextWorkers(TextSettings())
    await workers.start()
    try:
        for key, name in itertools.product(CHOSEN, EIGHT):
            request = request_of(BODIES[name])
            encoded = await TextQuestions(workers).encode(templates[key].folder, request.input)
            assert encoded.tokens == replies[key, name]
    finally:
        await workers.close()


def test_over_http(templates: dict[str, RealTemplate], tmp_path: Path) -> None:
    """As many prompt tokens as the worker counts; a result without its call is a 400 that says
    which message it is."""
    worker, home = Worker(), tmp_path / "home"
    for key in CHOSEN[:2]:
        folder = make_llama(tmp_path / key)
        template = (templates[key].folder / "chat_template.jinja").read_text(encoding="utf-8")
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        link_model(home, key.lower(), folder)
    with ServerProcess(home) as server:

        def post(key: str, body: dict[str, Any]) -> httpx.Response:
            headers = {"Authorization": f"Bearer {KEY}"}
            sent = {"model": key.lower(), "max_tokens": 1, **body}
            url = f"{server.url}/v1/chat/completions"
            return httpx.post(url, json=sent, headers=headers, timeout=60)

        for key in CHOSEN[:2]:
            model = RealTemplate(key, "", tmp_path / key)
            for name in EIGHT:
                response = post(key, BODIES[name])
                assert response.status_code == 200, response.text
                tokens = model.tokens(worker, BODIES[name])
                assert response.json()["usage"]["prompt_tokens"] == len(tokens)
        refused = post(LONE, {"messages": LONE_RESULT})
        assert refused.status_code == 400
        assert "messages[1] is a result" in refused.json()["error"]["message"]
