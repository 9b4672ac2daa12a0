"""Tests of /status, /pause and /resume: what a pause refuses, what it lets be, what is told."""

import json
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.models.tiny_encoders import MINILM, make_bert
from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, import_model, link_model
from tests.sockets import opened
from web.dialect import CHAT_DIALECTS

_HELLO = [{"role": "user", "content": "hello"}]
_CHAT = {"model": "tiny", "messages": _HELLO, "max_tokens": 2}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own: what is paused here shall not be paused for other tests."""
    folder: Path = tmp_path_factory.mktemp("status")
    link_model(folder / "home", "tiny", make_llama(folder / "tiny"))
    import_model(folder / "home", "ranker", make_bert(folder / "ranker", num_labels=1))
    import_model(folder / "home", "minilm", MINILM)
    with ServerProcess(folder / "home") as process:
        yield process


@pytest.fixture
def client(served: ServerProcess) -> Iterator[httpx.Client]:
    """Leaves a server that takes requests."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60) as client:
        yield client
        client.post("/v1/resume").raise_for_status()


def status(client: httpx.Client) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/v1/status").raise_for_status().json()
    return told


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)


def long_answer(num_tokens: int) -> dict[str, Any]:
    """It never ends before."""
    return _CHAT | {"stream": True, "max_tokens": num_tokens, "ignore_eos": True}


def until_content(lines: Iterator[str]) -> None:
    """Read a stream up to its first text."""
    while '"content":"' not in next(lines).replace('"content":""', ""):
        pass


@pytest.mark.parametrize("dialect", CHAT_DIALECTS, ids=lambda dialect: dialect.name)
def test_a_pause_is_told_and_lifted_as_often_as_one_likes(
    client: httpx.Client, dialect: Any
) -> None:
    """Both routes answer with the status, whatever it was; /ready follows; /health does not."""
    for route, state, ready in (("pause", "paused", 503), ("resume", "ready", 200)):
        for _ in range(2):
            told = client.post(f"{dialect.base}/{route}")
            assert told.status_code == 200 and told.json()["state"] == state
            assert client.get(f"{dialect.base}/status").json()["state"] == state
            answer = client.get("/ready")
            assert (answer.status_code, answer.json()) == (ready, {"status": state})
            assert client.get("/health").status_code == 200
    assert "retry-after" not in client.get("/ready").headers


def test_who_has_no_key_pauses_nothing(served: ServerProcess, client: httpx.Client) -> None:
    """Nor is the status told: it names models."""
    for method, path in (("POST", "pause"), ("POST", "resume"), ("GET", "status")):
        answer = httpx.request(method, f"{served.url}/v1/{path}")
        assert answer.status_code == 401, path
    assert client.get("/v1/pause").status_code == 405
    assert status(client)["state"] == "ready"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", _CHAT),
        ("chat/completions", _CHAT | {"stream": True}),
        ("completions", {"model": "tiny", "prompt": "once", "max_tokens": 2}),
        ("messages", _CHAT),
        ("responses", {"model": "tiny", "input": "hello", "max_output_tokens": 16}),
        (
            "responses",
            {"model": "tiny", "input": "hello", "max_output_tokens": 16, "background": True},
        ),
        ("embeddings", {"model": "minilm", "input": "hello"}),
        ("rerank", {"model": "ranker", "query": "a", "documents": ["b"]}),
    ],
)
def test_new_work_is_refused_in_a_pause(
    client: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    """With words that say how to go on, and headers that keep SDKs from trying in vain."""
    client.post("/v1/pause")
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0 and answer.headers["x-should-retry"] == "false"
    error = answer.json()["error"]
    assert "paused" in error["message"] and "POST /v1/resume" in error["message"]
    if path != "messages":  # whose errors have no code
        assert error["code"] == "paused"
    client.post("/v1/resume")
    assert client.post(f"/v1/{path}", json=body).status_code == 200


def test_official_clients_read_it(served: ServerProcess, client: httpx.Client) -> None:
    """As the exception they have for it, at once: they would retry a 503 that says nothing else."""
    client.post("/v1/pause")
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEY) as official:
        with pytest.raises(openai.InternalServerError, match="mlx-edge resume") as caught:
            official.chat.completions.create(**_CHAT)  # type: ignore[call-overload]
        assert (caught.value.status_code, caught.value.code) == (503, "paused")
        assert "tiny" in [model.id for model in official.models.list()]
        client.post("/v1/resume")
        assert official.chat.completions.create(**_CHAT).choices  # type: ignore[call-overload]
    client.post("/v1/pause")
    with anthropic.Anthropic(base_url=served.url, api_key=KEY) as other:
        with pytest.raises(anthropic.InternalServerError, match="paused"):
            other.messages.create(model="tiny", max_tokens=2, messages=_HELLO)  # type: ignore


def test_what_runs_goes_on_to_its_end(served: ServerProcess, client: httpx.Client) -> None:
    """A stream that began before the pause is whole: not a token is missing."""
    served.wait_until_empty()
    drawn = status(client)["tokens_drawn"]
    with client.stream("POST", "/v1/chat/completions", json=long_answer(1500)) as answer:
        lines = answer.iter_lines()
        until_content(lines)
        assert client.post("/v1/pause").json()["state"] == "paused"
        assert client.post("/v1/chat/completions", json=_CHAT).status_code == 503
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]" and '"finish_reason":"length"' in "".join(rest[-3:])
    assert status(client)["tokens_drawn"] == drawn + 1500


def test_the_speed_is_that_of_now(served: ServerProcess, client: httpx.Client) -> None:
    """Above nothing while an answer is written, and nothing once its client has left."""
    with client.stream("POST", "/v1/chat/completions", json=long_answer(8000)) as answer:
        until_content(answer.iter_lines())
        told = status(client)
        (model,) = [shown for shown in told["models"] if shown["id"] == "tiny"]
        assert model["num_running"] == 1
        assert model["tokens_per_second"] > 0 and told["tokens_per_second"] > 0
    served.wait_until_empty()
    until(lambda: status(client)["tokens_per_second"] == 0, "rest")


def test_models_are_looked_after_in_a_pause(client: httpx.Client) -> None:
    """Loads, unloads, lists and estimates stay possible."""
    client.post("/v1/pause")
    assert client.post("/v1/models", json={"model": "tiny"}).json()["loaded"] is True
    assert client.get("/v1/models").status_code == 200
    assert client.post("/v1/estimate", json=_CHAT).status_code == 200
    assert client.delete("/v1/models/tiny").json()["deleted"] is True


async def test_a_socket_outlives_the_refusal(served: ServerProcess, client: httpx.Client) -> None:
    """What is asked on it gets an error event; once the pause is over, it is answered there."""
    async with opened(served) as socket:
        client.post("/v1/pause")
        await socket.create("a")
        refused = (await socket.answers(1))["a"].last
        assert refused["type"] == "error" and refused["error"]["code"] == "paused"
        client.post("/v1/resume")
        await socket.create("b", max_tokens=4)
        assert (await socket.answers(1))["b"].last["type"] == "chat.completion.done"


async def test_a_socket_of_responses_too(served: ServerProcess, client: httpx.Client) -> None:
    """It has frames of its own."""
    ask = {"type": "response.create", "model": "tiny", "input": "hello", "max_output_tokens": 16}
    async with opened(served, "/v1/responses") as socket:
        client.post("/v1/pause")
        await socket.send(**ask)
        refused = await socket.receive()
        assert refused["type"] == "error" and refused["error"]["code"] == "paused"
        client.post("/v1/resume")
        await socket.send(**ask)
        assert (await socket.receive())["type"] == "response.created"


def test_the_status_tells_what_a_glance_wants(client: httpx.Client) -> None:
    """The models in memory with what they take and do; version, key and uptime."""
    client.post("/v1/models", json={"model": "tiny", "pin": True}).raise_for_status()
    told = status(client)
    (model,) = [shown for shown in told["models"] if shown["id"] == "tiny"]
    assert model["state"] == "loaded" and model["memory_bytes"] > 10_000_000
    assert (model["pinned"], model["expires_in_s"]) == (True, None)
    assert (model["num_running"], model["num_waiting"]) == (0, 0)
    assert told["version"] == version("mlx-edge") and told["has_default_key"] is True
    assert 0 < told["uptime_s"] <= time.time() - told["started_at"] + 1
    assert told["memory"]["held_bytes"] >= model["memory_bytes"]
    client.delete("/v1/models/tiny").raise_for_status()
    assert "tiny" not in [shown["id"] for shown in status(client)["models"]]


def test_drawn_tokens_are_counted_for_prometheus(client: httpx.Client) -> None:
    """All that were drawn, those of an answer that was left too; over unloads and loads."""

    def counted() -> float:
        text = client.get("/metrics").text
        name = 'mlx_edge_tokens_drawn_total{model="tiny"} '
        (line,) = [line for line in text.splitlines() if line.startswith(name)]
        return float(line.removeprefix(name))

    answer = client.post("/v1/chat/completions", json=_CHAT | {"ignore_eos": True}).json()
    assert answer["usage"]["completion_tokens"] == 2
    before = counted()
    client.delete("/v1/models/tiny").raise_for_status()
    assert client.post("/v1/chat/completions", json=_CHAT | {"ignore_eos": True}).is_success
    assert counted() == before + 2 == json.loads(client.get("/v1/status").text)["tokens_drawn"]
