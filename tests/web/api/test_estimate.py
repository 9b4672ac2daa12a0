"""POST /estimate from outside: what a request would take, told without running it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serving import KEY, ServerProcess

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        yield client


def estimate(client: httpx.Client, base: str = "/v1", **body: Any) -> dict[str, Any]:
    answer = client.post(f"{base}/estimate", json={"model": "tiny"} | body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_an_estimate_loads_nothing_and_counts_as_the_answer_does(
    server: ServerProcess, client: httpx.Client
) -> None:
    """Tokens, bytes, whether it fits; after an answer also when its first token would come."""
    client.delete("/v1/models/tiny")
    told = estimate(client, **CHAT)
    assert server.get("/v1/models/tiny")["state"] == "unloaded" and not told["loaded"]
    assert told["fits_now"] and told["fits_when_drained"]
    assert told["needed_bytes"] >= told["bytes"]["total"] > told["bytes"]["weights"] > 0
    assert told["reserved_tokens"] == told["prompt_tokens"] + 100 and told["max_tokens"] == 100
    long = CHAT | {"messages": [{"role": "user", "content": "word " * 500}]}
    answer = client.post("/v1/chat/completions", json=long | {"model": "tiny"}).json()
    told = estimate(client, "/mimik-ai/openai/v1", **long)
    assert told["loaded"] and told["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert told["ttft_ms"]["load"] == 0
    unread = CHAT | {"messages": [{"role": "user", "content": "other " * 500}]}
    assert estimate(client, **unread)["ttft_ms"]["total"] > 0
    assert told["needed_bytes"] < told["bytes"]["total"]  # its weights are there already
    assert estimate(client, **CHAT | {"n": 4})["bytes"]["kv"] > 3 * told["bytes"]["kv"] / 10


def test_of_an_open_answer_a_modest_one_is_reserved(client: httpx.Client) -> None:
    """As of one whose named length is beyond the context, which agents send."""
    prompt = estimate(client, prompt=[5, 6, 7])
    assert prompt["prompt_tokens"] == 3 and prompt["reserved_tokens"] == 3 + 1024
    beyond = estimate(client, prompt=[5, 6, 7], max_tokens=32_000)
    assert beyond["reserved_tokens"] == 3 + 1024 and beyond["max_tokens"] == 8192 - 3


def test_what_would_be_refused_is_refused_here_too(client: httpx.Client) -> None:
    too_long = {"model": "short", "prompt": "word " * 500}
    answer = client.post("/v1/estimate", json=too_long)
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["code"] == "context_length_exceeded"
    both = CHAT | {"model": "tiny", "prompt": "Hello"}
    assert client.post("/v1/estimate", json=both).status_code == 400
    assert client.post("/v1/estimate", json={"model": "nope", "prompt": "x"}).status_code == 404
    assert client.post("/v1/estimate", json={"model": "tiny"}).status_code == 400
