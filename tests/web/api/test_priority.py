"""Tests of `priority`, X-Priority and `max_ttft_ms` from outside: who waits, and where it shows."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ROOT, ServerProcess, link_model
from tests.sockets import CHAT, opened
from tests.store_client import wait_until

BASES = ("/v1", "/mimik-ai/openai/v1")
HEADERS = {"Authorization": f"Bearer {KEY}"}
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
LONG: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 8000, "temperature": 0}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that computes one row at a time."""
    home: Path = tmp_path_factory.mktemp("narrow") / "home"
    link_model(home, "tiny", make_llama(home.parent / "tiny"))
    with ServerProcess(home, "--max-rows", "1") as process:
        yield process


def post(server: ServerProcess, path: str, headers: dict[str, str], **body: Any) -> httpx.Response:
    url = server.url + path
    return httpx.post(url, json={"model": "tiny"} | body, headers=HEADERS | headers, timeout=60)


@contextmanager
def running(
    server: ServerProcess, base: str = "/v1", *, count: int = 1, **options: Any
) -> Iterator[None]:
    """Long streams, the first of which has begun; the others wait, for what it leaves to them."""
    with ExitStack() as stack:
        url = server.url + base
        client = stack.enter_context(OpenAI(base_url=url, api_key=KEY, max_retries=0))
        for number in range(count):
            stream: Any = client.chat.completions.create(**LONG, stream=True, **options)
            stack.enter_context(closing(stream))
            if number == 0:
                next(c for c in stream if c.choices and c.choices[0].delta.content)
        yield


def shown(server: ServerProcess) -> dict[str, Any]:
    (model,) = (m for m in server.get("/v1/models")["data"] if m["id"] == "tiny")
    return {key: model[key] for key in ("num_running", "num_waiting", "num_set_aside")}


def ps(server: ServerProcess) -> str:
    command = [sys.executable, "-m", "scripts.cli", "ps", "--server", server.url]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


ASIDE = {"num_running": 1, "num_waiting": 3, "num_set_aside": 1}
ALONE = {"num_running": 1, "num_waiting": 0, "num_set_aside": 0}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "asked",
    [
        {"extra_body": {"priority": "background"}},
        {"extra_headers": {"X-Priority": "background"}},
        {
            "extra_headers": {"X-Priority": "interactive"},
            "extra_body": {"priority": "background"},
        },
    ],
    ids=["field", "header", "field wins"],
)
def test_a_background_row_makes_room(narrow: ServerProcess, base: str, asked: Any) -> None:
    """And goes on when the others have left."""
    with running(narrow, base, **asked):
        with running(narrow, count=3):
            assert shown(narrow) == ASIDE
        wait_until(lambda: shown(narrow) == ALONE)
    narrow.wait_until_empty()


@pytest.mark.parametrize(
    "asked",
    [
        {"extra_body": {"priority": "interactive"}, "extra_headers": {"X-Priority": "background"}},
        {"extra_body": {"priority": None}},
    ],
    ids=["field wins", "null"],
)
def test_an_interactive_row_makes_none(narrow: ServerProcess, asked: Any) -> None:
    with running(narrow, **asked, count=2):
        wait_until(lambda: shown(narrow)["num_waiting"] == 1)
        assert shown(narrow)["num_set_aside"] == 0
    narrow.wait_until_empty()


async def test_a_socket_says_it_once_for_all(narrow: ServerProcess) -> None:
    """In the header of its upgrade; a stream's own field wins."""
    async with opened(narrow, headers={"X-Priority": "background"}) as socket:
        await socket.create("behind", max_tokens=8000)
        await socket.until_text("behind")
        for name in ("first", "second", "third"):
            await socket.create(name, max_tokens=8000, priority="interactive")
        await socket.until_text("first")
        wait_until(lambda: shown(narrow) == ASIDE)
        for name in ("first", "second", "third"):
            await socket.cancel(name)
        await socket.answers(3)
        await socket.until_text("behind")
        assert shown(narrow) == ALONE
    narrow.wait_until_empty()


def test_rows_set_aside_are_listed_and_counted(narrow: ServerProcess) -> None:
    """In `ps` and /metrics; afterwards as continued, there and in /v1/models."""

    def metric(name: str, reason: str = "") -> float:
        text = httpx.get(narrow.url + "/metrics", headers=HEADERS).text
        labels = f'model="tiny",reason="{reason}"' if reason else 'model="tiny"'
        (value,) = re.findall(rf"^mlx_edge_{name}{{{labels}}} (\S+)$", text, re.MULTILINE)
        return float(value)

    with running(narrow, extra_body={"priority": "background"}):
        before = metric("rows_continued_total", "priority")
        interrupted = metric("rows_interrupted_total", "priority")
        num_continued = narrow.get("/v1/models/tiny")["num_continued"]
        with running(narrow, count=3):
            assert metric("rows_set_aside") == 1
            assert metric("rows_interrupted_total", "priority") == interrupted + 1
            listed = ps(narrow)
            assert "1 running, 3 waiting, 1 of them set aside" in listed
        wait_until(lambda: shown(narrow) == ALONE)
        assert metric("rows_set_aside") == 0
        assert metric("rows_continued_total", "priority") == before + 1
        assert metric("rows_continued_total", "death") == 0  # told from the beginning
        assert narrow.get("/v1/models/tiny")["num_continued"] == num_continued + 1
        listed = ps(narrow)
        assert f"1 running, 0 waiting, {num_continued + 1} continued" in listed
    narrow.wait_until_empty()


ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("/chat/completions", {"messages": HELLO}),
    ("/embeddings", {"model": "minilm", "input": "hello"}),
    ("/rerank", {"model": "ranker", "query": "hello", "documents": ["a"]}),
]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("path", "body"), ROUTES, ids=[path for path, _ in ROUTES])
def test_priority_on_every_route(
    encoders: ServerProcess, base: str, path: str, body: dict[str, Any]
) -> None:
    """The two words and null pass, in the field and in the header; what is wrong is named."""
    path = base + path
    body = body | ({"max_tokens": 1} if "messages" in body else {})
    for priority in ("background", "interactive", None):
        assert post(encoders, path, {}, **body, priority=priority).status_code == 200
    for header in ("background", "interactive"):
        assert post(encoders, path, {"X-Priority": header}, **body).status_code == 200
    wrong_header = {"X-Priority": "Urgent"}
    assert post(encoders, path, wrong_header, **body, priority="background").status_code == 200
    refused = [("X-Priority", post(encoders, path, wrong_header, **body))]
    for value in ("urgent", 1, True, ["background"]):
        refused.append(("priority", post(encoders, path, {}, **body, priority=value)))
    for name, answer in refused:
        error = answer.json()["error"]
        assert answer.status_code == 400 and name in error["message"]
        assert base != "/v1" or error["param"] == name


async def test_a_wrong_header_of_a_socket_is_named(server: ServerProcess) -> None:
    """In each stream's last frame; one that says its own is answered."""
    async with opened(server, headers={"X-Priority": "urgent"}) as socket:
        await socket.create("wrong")
        await socket.create("right", priority="background")
        answers = await socket.answers(2)
    error = answers["wrong"].last
    assert error["status"] == 400 and error["error"]["param"] == "X-Priority"
    assert answers["right"].last["finish_reason"] == "length"


def test_a_page_of_an_allowed_origin_may_send_it(server: ServerProcess) -> None:
    reply = httpx.options(
        server.url + CHAT,
        headers={
            "Origin": server.url,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-priority",
        },
    )
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-origin"] == server.url
    assert "x-priority" in reply.headers["access-control-allow-headers"].split(", ")


@pytest.fixture(scope="module")
def measured(server: ServerProcess) -> ServerProcess:
    """A server that knows how fast `tiny` reads a prompt: one that no other test has it read."""
    messages = [{"role": "user", "content": "measured " * 200}]
    answer = post(server, CHAT, {}, messages=messages, max_tokens=1)
    assert answer.status_code == 200, answer.text
    return server


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("stream", [True, False])
def test_a_hopeless_deadline_is_refused_at_once(
    measured: ServerProcess, base: str, stream: bool
) -> None:
    """With both numbers, and no invitation to try the same again; others are kept."""
    path, body = base + "/chat/completions", {"messages": HELLO, "max_tokens": 1, "stream": stream}
    for bearable in (600_000, 1e300, None):
        assert post(measured, path, {}, **body, max_ttft_ms=bearable).status_code == 200
    refused = post(measured, path, {}, **body, max_ttft_ms=0.001)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-should-retry"] == "false"
    error = refused.json()["error"]
    assert error["code"] == ("ttft_out_of_reach" if base == "/v1" else 503)
    assert re.search(r"expected in \d+ ms, .* allows 0\.001 ms", error["message"])


async def test_a_hopeless_deadline_on_a_socket(measured: ServerProcess) -> None:
    """It ends its stream only."""
    async with opened(measured) as socket:
        await socket.create("late", max_ttft_ms=0.001)
        await socket.create("wrong", max_ttft_ms=0)
        await socket.create("fine", max_ttft_ms=600_000)
        answers = await socket.answers(3)
    late, wrong = answers["late"].last, answers["wrong"].last
    assert late["status"] == 503 and late["error"]["code"] == "ttft_out_of_reach"
    assert int(late["error"]["headers"]["Retry-After"]) >= 1
    assert late["error"]["headers"]["x-should-retry"] == "false"
    assert wrong["status"] == 400 and wrong["error"]["param"] == "max_ttft_ms"
    assert answers["fine"].last["finish_reason"] == "length"
