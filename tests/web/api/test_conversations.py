"""Tests of conversations as clients send them, over HTTP: shaped, continued, or refused by name."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.store.store import Store
from runtime.text.prompt import ChatPrompt
from runtime.text.template import template_of
from runtime.text.tokenizer import ModelTokenizer
from tests.models.tiny_models import make_llama
from tests.runtime.text import traits
from tests.serving import KEY, ServerProcess, import_model, link_model

USER: dict[str, Any] = {"role": "user", "content": "hi"}
CALL: dict[str, Any] = {"id": "call_1", "type": "function"}
CALL["function"] = {"name": "look", "arguments": '{"at": "sky"}'}
CALLING: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Has a model for each of two templates of our own, and Pocket."""
    folder = tmp_path_factory.mktemp("conversations")
    tiny = make_llama(folder / "tiny")
    home = folder / "home"
    alternating = with_template(shutil.copytree(tiny, folder / "a"), traits.ALTERNATING)
    link_model(home, "alternating", alternating)
    import_model(
        home, "user", with_template(shutil.copytree(tiny, folder / "u"), traits.NEEDS_USER)
    )
    with ServerProcess(home) as process:
        yield process


def with_template(folder: Path, source: str) -> Path:
    (folder / "chat_template.jinja").write_text(source)
    return folder


def chat(server: ServerProcess, model: str, *messages: Any, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": messages, "max_tokens": 2, **fields}
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def noted(server: ServerProcess, model: str) -> None:
    """Wait until the record has what a load found out: it is written beside the answer."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        record = Store(server.home).get(model).record
        if record is not None and record.chat_format is not None:
            return
        time.sleep(0.02)
    raise AssertionError("the record never got it")


def num_tokens(server: ServerProcess, model: str, messages: list[Any], turn: Any = "new") -> int:
    """Of the prompt, as it is made of the model's own files."""
    folder = Store(server.home).get(model).folder
    prompt = ChatPrompt(template_of(folder)).render(messages, {}, turn)
    return len(ModelTokenizer(folder).prompt(prompt.text))


def test_what_agents_send_is_answered(server: ServerProcess) -> None:
    """Two users in a row, late system messages, tools: by a template that refuses all of them."""
    answer = {"role": "assistant", "content": "Well."}
    developer = {"role": "developer", "content": "Be kind."}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "blue"}
    for messages in (
        [USER, USER],
        [USER, answer, developer, USER],
        [developer, developer, USER, answer, answer, USER],
        [answer, USER],
        [USER, CALLING, result],
    ):
        response = chat(server, "alternating", *messages)
        assert response.status_code == 200, response.text
        as_system = [m | {"role": "system"} if m is developer else m for m in messages]
        used = response.json()["usage"]["prompt_tokens"]
        assert used == num_tokens(server, "alternating", as_system)


@pytest.mark.parametrize(
    ("model", "messages", "said"),
    [
        ("user", [{"role": "system", "content": "x"}], "messages[0] is the last, and none is of"),
        ("user", [{"role": "assistant", "content": "x"}], "messages[0] is the last, and none is"),
    ],
)  # fmt: skip
def test_what_cannot_be_shaped_is_a_400(
    server: ServerProcess, model: str, messages: list[Any], said: str
) -> None:
    """It names the message and what this template wants, in one sentence without a trace."""
    response = chat(server, model, *messages)
    error = response.json()["error"]
    assert response.status_code == 400 and error["param"] == "messages"
    assert error["code"] == "chat_template_error"
    assert error["message"].startswith(said) and "this model's chat template wants" in str(error)


def test_an_answer_is_continued(server: ServerProcess) -> None:
    """Pocket goes on where its own answer was cut, and only the new part is told."""
    who = {"role": "user", "content": "Who are you?"}
    whole = chat(server, "pocket", who, temperature=0, max_tokens=200)
    text = whole.json()["choices"][0]["message"]["content"]
    begun, rest = text[: text.index(" ", 10)], text[text.index(" ", 10) :]
    for last, fields in (
        ({}, {}),
        ({}, {"continue_final_message": True, "add_generation_prompt": False}),
        ({"prefix": True}, {}),
    ):
        answer = {"role": "assistant", "content": begun, **last}
        response = chat(server, "pocket", who, answer, temperature=0, max_tokens=200, **fields)
        assert response.json()["choices"][0]["message"]["content"] == rest
        fields["stream"] = True
        stream = chat(server, "pocket", who, answer, temperature=0, max_tokens=200, **fields)
        lines = [line for line in stream.text.splitlines() if line.startswith("data: {")]
        deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines]
        assert "".join(delta.get("content") or "" for delta in deltas) == rest


@pytest.mark.parametrize(
    ("fields", "turn"),
    [
        ({}, "continued"),
        ({"add_generation_prompt": True}, "new"),
        ({"continue_final_message": False, "add_generation_prompt": False}, "none"),
    ],
)
def test_how_the_prompt_ends(server: ServerProcess, fields: dict[str, Any], turn: str) -> None:
    """As the request says."""
    messages = [USER, {"role": "assistant", "content": "Well"}]
    response = chat(server, "alternating", *messages, **fields)
    expected = num_tokens(server, "alternating", messages, turn)
    assert response.json()["usage"]["prompt_tokens"] == expected


def test_what_contradicts_itself_is_a_400(server: ServerProcess) -> None:
    """Both names are told."""
    fields = {"continue_final_message": True, "add_generation_prompt": True}
    response = chat(server, "pocket", USER, {"role": "assistant", "content": "x"}, **fields)
    assert response.status_code == 400
    assert all(name in response.json()["error"]["message"] for name in fields)


def test_what_a_template_takes_is_shown(server: ServerProcess) -> None:
    """From the first load on, also by a load without a request, and after it was unloaded."""
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"{server.url}/v1/models"
    loaded = httpx.post(url, json={"model": "user"}, headers=headers, timeout=60).json()
    shown = loaded["chat_template"]
    assert (shown["system"], shown["alternates"], shown["tools"]) == ("anywhere", False, False)
    assert server.get("/v1/models/user")["chat_template"] == shown
    assert chat(server, "alternating", USER).status_code == 200
    listed = {model["id"]: model.get("chat_template") for model in server.get("/v1/models")["data"]}
    assert (listed["alternating"]["system"], listed["alternating"]["alternates"]) == ("first", True)
    noted(server, "user")
    httpx.delete(f"{url}/user", headers=headers, timeout=60)
    assert server.get("/v1/models/user")["loaded"] is False
    assert server.get("/v1/models/user")["chat_template"] == shown
