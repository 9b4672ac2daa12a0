"""Tests of models without a chat template: listed as what they are, and refused in a sentence."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry.store.store import Store
from scripts.description import described
from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, import_model, link_model
from tests.sockets import opened

BASES = ("/v1", "/mimik-ai/openai/v1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Has `base` without a template; `older` without and `tiny` with one have older records."""
    folder = tmp_path_factory.mktemp("templates")
    tiny = make_llama(folder / "tiny")
    base = without_template(shutil.copytree(tiny, folder / "base"))
    home = folder / "home"
    import_model(home, "base", base)
    link_model(home, "older", base)
    link_model(home, "tiny", tiny)
    with ServerProcess(home) as process:
        yield process


def without_template(folder: Path) -> Path:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_bytes())
    del config["chat_template"]
    path.write_text(json.dumps(config))
    return folder


def chat(server: ServerProcess, base: str, model: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(
        f"{server.url}{base}/chat/completions", json=body, headers=headers, timeout=60
    )


def test_a_model_without_a_template_is_listed_as_none_that_chats(server: ServerProcess) -> None:
    """So the page does not offer it. An older record does not say it; its files do."""
    listed = {model["id"]: model["capabilities"] for model in server.get("/v1/models")["data"]}
    assert {name: listed[name]["chat"] for name in listed} == {
        **{"tiny": True, "pocket": True},
        **{"base": False, "older": False},
    }
    assert all(can["streaming"] == can["chat"] for can in listed.values())
    assert not any(can["embeddings"] or can["rerank"] for can in listed.values())
    for base in BASES:
        assert server.get(f"{base}/models/base")["capabilities"]["chat"] is False


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("model", ["base", "older"])
def test_a_chat_with_it_is_refused(server: ServerProcess, base: str, model: str) -> None:
    """With the reason, what to do, and those that can; no engine is started for that."""
    response = chat(server, base, model)
    error = response.json()["error"]
    assert response.status_code == 400 and error.get("param", "model") == "model"
    assert f"'{model}' has no chat template" in error["message"]
    assert "These can: pocket, tiny." in error["message"]
    assert server.engines() == []


async def test_a_chat_with_it_is_refused_on_the_socket(server: ServerProcess) -> None:
    """By the same words."""
    async with opened(server) as client:
        await client.create("1", model="base")
        last = (await client.answers(1))["1"].last
    assert last["type"] == "error" and "has no chat template" in last["error"]["message"]


def test_show_says_it_too(server: ServerProcess) -> None:
    """The command line and the page tell the same."""
    store = Store(server.home)
    assert dict(described(store.get("base")))["task"] == "none, for it has no chat template"
    assert dict(described(store.get("tiny")))["task"] == "chat"
