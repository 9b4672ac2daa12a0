"""Tests of web.api.chat from outside: the real server, driven by the official openai SDK."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, chat_request, link_model, read_all

HELLO: list[Any] = [{"role": "user", "content": "Hello you"}]
# No token of its greedy answer leads by less than 0.002, so no rounding makes it another.
STORY: list[Any] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(server: ServerProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_whole_answer(client: OpenAI) -> None:
    """A plain request answers with text, a reason and usage that adds up."""
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=7, temperature=0
    )
    assert answer.object == "chat.completion" and answer.model == "tiny"
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.role == "assistant" and answer.choices[0].message.content
    assert answer.usage is not None and answer.usage.completion_tokens == 7
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 7
    assert answer._request_id and answer._request_id.startswith("req_")
    assert answer.system_fingerprint and answer.system_fingerprint.startswith("fp_")


def test_stream_equals_the_whole_answer(client: OpenAI) -> None:
    """The chunks join to the same text; the role comes first, the reason last."""
    settings: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 40, "seed": 5}
    whole = client.chat.completions.create(**settings).choices[0].message.content
    chunks = list(client.chat.completions.create(stream=True, **settings))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert len({chunk.id for chunk in chunks}) == len({chunk.created for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_in_a_stream_when_asked_for(client: OpenAI) -> None:
    """include_usage adds one chunk without choices, and usage:null on all others."""
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=HELLO, max_tokens=3, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert chunks[-1].choices == [] and chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert all(chunk.choices and chunk.usage is None for chunk in chunks[:-1])


def test_mimoe_stream_to_the_field(server: ServerProcess) -> None:
    """Choices on every chunk, progress as mimoe_status, usage on the last, compact JSON."""
    response = httpx.post(
        server.url + "/mimik-ai/openai/v1/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        json={"model": "tiny", "messages": HELLO, "max_tokens": 4, "stream": True},
    )
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = response.text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert not any(
        ": " in event.removeprefix("data: ").split('"content"')[0] for event in events[:1]
    )
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant"}
    stages = [chunk["mimoe_status"] for chunk in chunks if "mimoe_status" in chunk]
    assert {"stage", "progress", "message"} == set(stages[-1])
    usage = chunks[-1]["usage"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert usage["completion_tokens"] == 4 and usage["token_per_second"] > 0
    assert {*usage["prompt_tokens_details"]} == {"cached_tokens"} and "ttft_ms" in usage
    assert not any("usage" in chunk for chunk in chunks[:-1])


def test_stop_sequence_ends_the_text_before_it(client: OpenAI) -> None:
    """The text stops right before a stop sequence that the free answer contains."""
    settings: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 60, "temperature": 0}
    free = client.chat.completions.create(**settings).choices[0].message.content or ""
    stop = free[10:14]
    for stream in (False, True):
        answer: Any = client.chat.completions.create(stop=[stop, "\x00"], stream=stream, **settings)
        if stream:
            chunks = list(answer)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            reason = chunks[-1].choices[0].finish_reason
        else:
            text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
        assert text == free[: free.index(stop)] and reason == "stop"


def test_equal_seeds_give_equal_answers_in_any_company(server: ServerProcess) -> None:
    """Sixteen requests at once, by seed: each is what it is alone."""

    async def run() -> None:
        async with AsyncOpenAI(base_url=server.url + "/v1", api_key=KEY) as client:

            async def ask(seed: int) -> str | None:
                answer = await client.chat.completions.create(
                    model="tiny", messages=HELLO, max_tokens=20, seed=seed, temperature=1.2
                )
                return answer.choices[0].message.content

            alone = [await ask(seed) for seed in (1, 2)]
            together = await asyncio.gather(*(ask(seed % 3) for seed in range(16)))
            assert together[1] == alone[0] and together[2] == alone[1]
            assert len(set(together)) == 3

    asyncio.run(run())


def test_context_overflow_is_refused_with_both_numbers(client: OpenAI) -> None:
    """A prompt over the limit is a 400 before anything streams; reaching it ends with length."""
    long: Any = [{"role": "user", "content": "many words " * 100}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="short", messages=long, stream=True)
    assert caught.value.code == "context_length_exceeded" and caught.value.param == "messages"
    assert "64" in caught.value.message
    answer = client.chat.completions.create(
        model="short", messages=HELLO, max_tokens=10_000, temperature=0
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None and answer.usage.total_tokens == 64


def test_unknown_model_and_wrong_key(server: ServerProcess, client: OpenAI) -> None:
    """The SDK's own exceptions, with the codes its users look at."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nope", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with OpenAI(base_url=server.url + "/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            stranger.chat.completions.create(model="tiny", messages=HELLO)


def test_the_engine_killed_in_mid_stream(server: ServerProcess, client: OpenAI) -> None:
    """The stream goes on where it was, and nobody who reads it sees that there was another."""
    settings: Any = {"model": "tiny", "messages": STORY, "max_tokens": 500, "temperature": 0}
    whole = client.chat.completions.create(**settings).choices[0].message.content
    text = ""
    for number, chunk in enumerate(client.chat.completions.create(stream=True, **settings)):
        if number == 5:
            (engine,) = [p for p in server.engines() if str(p.cmdline()).count("tiny")]
            engine.kill()
        text += chunk.choices[0].delta.content or ""
    assert text == whole


def test_a_full_queue_refuses_fast(server: ServerProcess) -> None:
    """Beyond rows and queue it is 429 with Retry-After, while the admitted ones go on."""

    async def run() -> None:
        settings: dict[str, Any] = {
            "model": "tiny", "messages": HELLO, "max_tokens": 800, "temperature": 0
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(headers=headers, timeout=60) as client:
            url = server.url + "/v1/chat/completions"
            responses = await asyncio.gather(
                *(client.post(url, json=settings | {"seed": n}) for n in range(40))
            )
        statuses = [response.status_code for response in responses]
        assert statuses.count(200) == 16 and statuses.count(429) == 24
        refused = next(r for r in responses if r.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "queue_full"

    httpx.post(
        server.url + "/v1/models",
        json={"model": "tiny"},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=30,
    )
    asyncio.run(run())
    server.wait_until_empty()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["queue", "prefill", "decode"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_clients_that_vanish_leave_no_row(
    server: ServerProcess, stream: bool, phase: str, how: str
) -> None:
    """However and whenever a client leaves, its row is gone and nothing else is harmed."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "word " * (3000 if phase == "prefill" else 2)}],
        "max_tokens": 4000,
        "stream": stream,
    }
    request = chat_request(body, Host=f"127.0.0.1:{server.port}")
    sockets = [
        socket.create_connection(("127.0.0.1", server.port), timeout=10)
        for _ in range(12 if phase == "queue" else 1)  # eight rows, the rest waits
    ]
    for sock in sockets:
        sock.sendall(request)
    if phase == "prefill":
        time.sleep(0.05)
    elif stream:
        for sock in sockets[:8]:
            sock.recv(1024)
    else:
        deadline = time.monotonic() + 10
        while server.num_rows() < min(8, len(sockets)) and time.monotonic() < deadline:
            time.sleep(0.02)
    for sock in sockets:
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    server.wait_until_empty()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_asks_no_more_gets_its_answer(server: ServerProcess, stream: bool) -> None:
    """One that shuts its side down after the request, and reads on; if it leaves, its row does."""
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 60, "temperature": 0}
    host = f"127.0.0.1:{server.port}"
    answers = []
    for is_half_closed in (False, True):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
            sock.sendall(chat_request(body | {"stream": stream}, Host=host))
            if is_half_closed:
                sock.shutdown(socket.SHUT_WR)
            answers.append(read_all(sock))
    assert [answer.startswith(b"HTTP/1.1 200") for answer in answers] == [True, True]
    end = b"[DONE]" if stream else b'"total_tokens"'
    assert [answer.count(end) for answer in answers] == [1, 1]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(chat_request(body | {"stream": stream, "max_tokens": 4000}, Host=host))
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
    server.wait_until_empty()


@pytest.mark.slow
def test_two_hundred_requests_of_random_shapes_leave_nothing(server: ServerProcess) -> None:
    """Long and short, streamed or not, seeded or not, some abandoned: no row stays."""
    import random

    generator = random.Random(3)

    async def ask(client: AsyncOpenAI) -> None:
        words = "word " * generator.choice([1, 10, 200, 1500])
        settings: Any = {
            "model": "tiny",
            "messages": [{"role": "user", "content": words}],
            "max_tokens": generator.choice([1, 2, 17, 60]),
            "temperature": generator.choice([0, 0.7, 1.5]),
            "top_p": generator.choice([1, 0.9, 0.1]),
            "stop": generator.choice([None, ["e"], ["zz", "qq"]]),
        }
        try:
            if generator.random() < 0.5:
                await client.chat.completions.create(**settings)
                return
            stream = await client.chat.completions.create(stream=True, **settings)
            patience = generator.choice([1, 5, 1000])
            async for _ in stream:
                patience -= 1
                if patience == 0:
                    await stream.close()
                    break
        except openai.RateLimitError:
            pass

    async def run() -> None:
        async with AsyncOpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
            for _ in range(10):
                await asyncio.gather(*(ask(client) for _ in range(20)))

    asyncio.run(run())
    server.wait_until_empty()


def test_a_hung_engine_is_replaced(tmp_path: Path) -> None:
    """SIGSTOP of the engine is noticed by the heartbeat; its streams go on in the next."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    settings: Any = {"model": "tiny", "messages": STORY, "max_tokens": 500, "temperature": 0}
    with ServerProcess(tmp_path / "home", "--heartbeat", "3s") as server:
        with OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
            whole = client.chat.completions.create(**settings).choices[0].message.content
            text = ""
            for number, chunk in enumerate(client.chat.completions.create(stream=True, **settings)):
                if number == 3:
                    os.kill(server.engines()[0].pid, signal.SIGSTOP)
                text += chunk.choices[0].delta.content or ""
            assert text == whole


def test_fifty_first_requests_load_once(tmp_path: Path) -> None:
    """Single flight: fifty requests for a model that is not loaded start one engine."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))

    async def run(server: ServerProcess) -> None:
        async with AsyncOpenAI(base_url=server.url + "/v1", api_key=KEY) as client:
            seen: set[int] = set()

            async def watch() -> None:
                while True:
                    seen.update(process.pid for process in server.engines())
                    await asyncio.sleep(0.02)

            watcher = asyncio.create_task(watch())
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=3)
                    for _ in range(50)
                )
            )
            watcher.cancel()
            assert all(answer.choices[0].message.content is not None for answer in answers)
            assert len(seen) == 1

    with ServerProcess(tmp_path / "home") as server:
        asyncio.run(run(server))
