"""Tests of /cache: hits and misses of real conversations, explained; and dropped."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ROOT, ServerProcess, link_model


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("cache")
    link_model(folder / "home", "tiny", make_llama(folder / "tiny"))
    with ServerProcess(folder / "home") as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    """Of a server that knows nothing yet."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        client.delete("/v1/cache")
        client.delete("/v1/models/tiny")
        yield client


def turn(client: httpx.Client, messages: list[dict[str, str]], model: str = "tiny") -> Any:
    """Have a conversation go on; its usage."""
    body = {
        "model": model, "messages": messages, "max_tokens": 80, "temperature": 1, "seed": 3,
        "guided_regex": "[a-z ]{30,50}",
    }  # fmt: skip
    reply = client.post("/v1/chat/completions", json=body).json()
    messages += [reply["choices"][0]["message"], {"role": "user", "content": "Go on"}]
    return reply["usage"]


def test_what_was_reused_is_told_and_what_was_not(client: httpx.Client) -> None:
    """An answer as it was drawn is found, one that the client changed up to there."""
    messages = [{"role": "user", "content": "Hello"}]
    usages = [turn(client, messages), turn(client, messages)]
    messages[-2]["content"] = messages[-2]["content"][:12] + "XYZ"
    usages.append(turn(client, messages))
    told = client.get("/v1/cache").json()
    assert told["splices"]["num_bytes"] > 0
    (cache,) = told["data"]
    assert (cache["id"], cache["object"]) == ("tiny", "cache")
    assert cache["num_tokens"] > 0 and 0 < cache["num_bytes"] <= cache["budget_bytes"]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert cache["cached_tokens"] == sum(cached)
    assert cache["prompt_tokens"] == sum(usage["prompt_tokens"] for usage in usages)
    lookups = list(reversed(cache["lookups"]))
    assert [lookup["cached_tokens"] for lookup in lookups] == cached
    assert [lookup["blocked"] for lookup in lookups] == ["new", None, "differs"]
    whole, changed = lookups[1:]
    assert whole["cached_tokens"] == usages[0]["total_tokens"]
    assert whole["spliced"]["reused_answer_tokens"] == usages[0]["completion_tokens"]
    assert whole["first_difference"] is None and whole["spliced"]["stopped"] is None
    assert changed["first_difference"] == changed["cached_tokens"] > whole["prompt_tokens"]
    for place in (changed, changed["spliced"]):
        assert "XYZ" in place["text_asked"] and "XYZ" not in place["text_known"]


def test_it_is_dropped_on_request(client: httpx.Client) -> None:
    """On both bases, of one model or of all; a name is understood as everywhere."""
    for path in ("/v1/cache?model=TINY", "/mimik-ai/openai/v1/cache", "/v1/cache?model=tiny"):
        messages = [{"role": "user", "content": "Hello"}]
        turn(client, messages)
        assert client.get(path).json()["data"][0]["num_bytes"] > 0
        assert client.delete(path).json()["models"] == ["tiny"]
        told = client.get(path).json()
        assert (told["data"][0]["num_bytes"], told["splices"]["num_bytes"]) == (0, 0)
        assert turn(client, messages)["prompt_tokens_details"]["cached_tokens"] == 0
        client.delete(path)


def test_a_model_that_is_not_in_memory_is_named(client: httpx.Client) -> None:
    assert client.get("/v1/cache").json()["data"] == []
    turn(client, [{"role": "user", "content": "Hello"}])
    for method in ("GET", "DELETE"):
        reply = client.request(method, "/v1/cache?model=tinny")
        assert reply.status_code == 404
        error = reply.json()["error"]
        assert error["code"] == "model_not_loaded" and "did you mean 'tiny'" in error["message"]


def test_the_command_line_prints_it(server: ServerProcess, client: httpx.Client) -> None:
    """A line for each model, and for each prompt what it took over and where it stopped."""

    def printed(*arguments: str) -> str:
        command = [sys.executable, "-m", "scripts.cli", "cache", *arguments]
        command += ["--server", server.url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "No model is in memory" in printed()
    messages = [{"role": "user", "content": "Hello"}]
    turn(client, messages)
    messages[-2]["content"] = "XYZ\n"
    turn(client, messages)
    lines = printed("--model", "tiny").splitlines()
    assert lines[0].startswith("tiny") and "MB" in lines[0] and "%" in lines[0]
    assert any("Nothing that begins like it" in line for line in lines)
    assert any("XYZ\\n" in line for line in lines)  # on one line, whatever it says
    assert json.loads(printed("--json"))["data"][0]["id"] == "tiny"
    assert "dropped" in printed("forget")
    assert client.get("/v1/cache").json()["data"][0]["num_bytes"] == 0
