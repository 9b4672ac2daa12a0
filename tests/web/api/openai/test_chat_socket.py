"""Tests of web.api.chat_socket from outside: streams, lanes, cancel, progress, and bad requests."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model
from tests.sockets import CHAT, opened

BASES = ("/v1", "/mimik-ai/openai/v1")
HEADERS = {"Authorization": f"Bearer {KEY}"}


def streamed(server: ServerProcess, base: str, **body: Any) -> list[dict[str, Any]]:
    """The chunks of the same request over SSE."""
    request = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0,
        "max_tokens": 16,
        "stream": True,
    } | body
    reply = httpx.post(
        f"{server.url}{base}/chat/completions", json=request, headers=HEADERS, timeout=60
    )
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def alike(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what differs between two answers, and with the texts joined that a busy machine may
    have merged or not."""
    varying = ("id", "created", "type", "stream_id")
    alike: list[dict[str, Any]] = []
    for chunk in chunks:
        value = {name: value for name, value in chunk.items() if name not in varying}
        if value.get("usage"):
            value["usage"] = {k: v for k, v in value["usage"].items() if k.endswith("_tokens")}
        value.pop("timings", None)
        delta = value["choices"][0]["delta"] if value["choices"] else {}
        before = alike[-1]["choices"][0]["delta"] if alike and alike[-1]["choices"] else {}
        if list(delta) == list(before) == ["content"]:
            before["content"] += delta["content"]
        else:
            alike.append(value)
    return alike


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
async def test_chunks_equal_those_of_sse(
    server: ServerProcess, base: str, options: dict[str, Any]
) -> None:
    """Key for key, in both dialects; then one frame that tells how it ended."""
    streamed(server, base)  # so that the model is loaded: its progress is a chunk of mimOE's
    expected = streamed(server, base, **options)
    async with opened(server, base + "/chat/completions") as socket:
        await socket.create("t1", **options)
        answer = (await socket.answers(1))["t1"]
    assert [list(chunk)[2:] for chunk in answer.chunks[-2:]] == [list(c) for c in expected[-2:]]
    assert alike(answer.chunks) == alike(expected)
    assert len({chunk["id"] for chunk in answer.chunks} | {answer.last["id"]}) == 1
    assert answer.last["type"] == "chat.completion.done"
    assert answer.last["finish_reason"] == "length" and answer.last["cancelled"] is False
    assert answer.last["usage"]["completion_tokens"] == 16
    assert answer.last["timings"]["decode_tokens_per_second"] > 0


async def test_streams_run_at_once_and_each_gets_its_own_text(server: ServerProcess) -> None:
    """Six on one socket: every text is that of the request alone, and they overlap."""
    prompts = {f"s{n}": [{"role": "user", "content": f"number {n} {'x' * n}"}] for n in range(6)}
    expected = {}
    async with opened(server) as socket:
        for name, messages in prompts.items():
            await socket.create(name, messages=messages, max_tokens=40)
            expected[name] = (await socket.answers(1))[name].text
        for name, messages in prompts.items():
            await socket.create(name, messages=messages, max_tokens=40)
        order: list[str] = []
        answers: dict[str, str] = dict.fromkeys(prompts, "")
        num_open = len(prompts)
        while num_open:
            frame = await socket.receive()
            order.append(frame["stream_id"])
            num_open -= frame["type"] == "chat.completion.done"
            if frame.get("choices"):
                answers[frame["stream_id"]] += frame["choices"][0]["delta"].get("content", "")
    assert answers == expected
    num_changes = sum(a != b for a, b in zip(order, order[1:], strict=False))
    assert num_changes > len(prompts)  # one after the other would be five


async def test_without_a_stream_id_one_after_the_other(server: ServerProcess) -> None:
    """The default lane keeps its order, and its frames have no stream_id."""
    async with opened(server) as socket:
        for number in range(3):
            await socket.create(None, max_tokens=3 + number)
        counts: list[int] = []
        while len(counts) < 3:
            frame = await socket.receive()
            assert "stream_id" not in frame
            if frame["type"] == "chat.completion.done":
                counts.append(frame["usage"]["completion_tokens"])
    assert counts == [3, 4, 5]


async def test_cancels_in_the_default_lane_go_in_order(server: ServerProcess) -> None:
    """Each ends the first that was not cancelled yet, running or not."""
    async with opened(server) as socket:
        for _ in range(3):
            await socket.create(None, max_tokens=5000)
        for _ in range(2):
            await socket.send(type="chat.completion.cancel")
        ends: list[dict[str, Any]] = []
        while len(ends) < 2:
            frame = await socket.receive()
            if frame["type"] == "chat.completion.done":
                ends.append(frame)
        assert [end["cancelled"] for end in ends] == [True, True]
        while not (frame.get("choices") and frame["choices"][0]["delta"].get("content")):
            frame = await socket.receive()
        await socket.send(type="chat.completion.cancel")
    await asyncio.to_thread(server.wait_until_empty)


async def test_cancel_ends_one_stream_and_frees_its_row(server: ServerProcess) -> None:
    """Its last frame says so, with the tokens so far; the other stream goes on."""
    async with opened(server) as socket:
        await socket.create("gone", max_tokens=5000)
        await socket.until_text("gone")
        await socket.create("stays", max_tokens=20)
        await socket.cancel("gone")
        answers = await socket.answers(2)
        assert answers["gone"].last["cancelled"] is True
        assert answers["gone"].last["finish_reason"] is None
        assert 0 < answers["gone"].last["usage"]["completion_tokens"] < 5000
        assert answers["stays"].last["usage"]["completion_tokens"] == 20
        server.wait_until_empty()
        await socket.create("gone", max_tokens=2)  # the name is free again
        assert (await socket.answers(1))["gone"].last["finish_reason"] == "length"


async def test_cancel_before_anything_has_begun(server: ServerProcess) -> None:
    """A cancel right behind its create, in a lane that waits, and one that is sent twice."""
    async with opened(server) as socket:
        await socket.create("a", max_tokens=5000)
        await socket.cancel("a")
        await socket.cancel("a")
        frames = [await socket.receive()]
        while frames[-1]["type"] not in ("chat.completion.done",):
            frames.append(await socket.receive())
        assert frames[-1]["cancelled"] is True
        await socket.create("b", max_tokens=2)
        answers = await socket.answers(1)
        # The second cancel was ignored, or told that nothing runs; it ended nothing.
        rest = [frame for answer in answers.values() for frame in answer.frames]
        if any(frame["type"] == "error" for frame in rest):
            answers = await socket.answers(1)
        assert answers["b"].last["finish_reason"] == "length"
    server.wait_until_empty()


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_end_of_the_socket_cancels_its_streams(server: ServerProcess, how: str) -> None:
    """With a close frame, or without a word."""
    async with opened(server) as socket:
        for name in ("a", "b", "c"):
            await socket.create(name, max_tokens=5000)
        await socket.until_text("c")
        assert await asyncio.to_thread(server.num_rows) == 3
        if how == "abort":
            socket.connection.transport.abort()
            await asyncio.to_thread(server.wait_until_empty)
        else:
            # It may read no more, and wait ten seconds for the answer to its close frame.
            closing = asyncio.create_task(socket.connection.close())
            await asyncio.to_thread(server.wait_until_empty, 8)
            socket.connection.transport.abort()
            await closing


async def test_progress_is_told_to_who_asks(tmp_path: Path) -> None:
    """Queue, load and prefill: in the request, or for the whole socket in its URL."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(tmp_path / "home", "--max-rows", "1") as server:
        long = [{"role": "user", "content": "word " * 900}]
        async with opened(server) as socket:
            await socket.create("first", messages=long, events=["progress"])
            first = (await socket.answers(1))["first"]
        stages = list(dict.fromkeys(frame["stage"] for frame in first.progress))
        assert stages == ["queued", "loading", "prefill"]
        last = first.progress[-1]
        assert last["done"] == last["total"] > 900 and last["progress"] == 1
        assert last["cached"] == 0
        assert len([frame for frame in first.progress if frame["stage"] == "prefill"]) > 1
        async with opened(server, CHAT + "?events=progress") as socket:
            await socket.create("running", max_tokens=5000)
            await socket.until_text("running")
            await socket.create("second", max_tokens=5000)
            await socket.create("third", max_tokens=2)
            while (await asyncio.to_thread(server.get, "/v1/models/tiny"))["num_waiting"] < 2:
                await asyncio.sleep(0.02)  # its prompt is still with a text worker
            await socket.cancel("running")
            await socket.until_text("second")
            await socket.cancel("second")
            positions = []
            while True:
                frame = await socket.receive()
                if frame.get("stage") == "queued" and frame["stream_id"] == "third":
                    positions.append(frame["position"])
                if frame["type"] == "chat.completion.done" and frame["stream_id"] == "third":
                    break
        # Who stands in front of it, down to nobody; the first of them may be read before.
        assert positions[-1] == 0 and positions == sorted(positions, reverse=True)
        async with opened(server) as socket:
            await socket.create("silent")
            assert not (await socket.answers(1))["silent"].progress


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "nobody"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"temperature": 9}, 400, "temperature"),
        ({"n": 33}, 400, "n"),
        ({"messages": [{"role": "user", "content": "word " * 20_000}]}, 400, "messages"),
    ],
)
async def test_a_bad_request_ends_its_stream_only(
    server: ServerProcess, body: dict[str, Any], status: int, param: str
) -> None:
    """The same refusal as over HTTP, with the stream's name."""
    async with opened(server) as socket:
        await socket.create("good", max_tokens=200)
        await socket.create("bad", **body)
        answers = await socket.answers(2)
    assert answers["bad"].last["status"] == status
    assert answers["bad"].last["error"]["param"] == param
    assert answers["good"].last["usage"]["completion_tokens"] == 200
    request = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]} | body
    over_http = httpx.post(server.url + CHAT, json=request, headers=HEADERS, timeout=60)
    assert over_http.status_code == status
    assert over_http.json()["error"] == answers["bad"].last["error"]


async def test_errors_have_the_shape_of_the_dialect(server: ServerProcess) -> None:
    """mimOE's code is the status."""
    async with opened(server, "/mimik-ai/openai/v1/chat/completions") as socket:
        await socket.create("x", model="nobody")
        assert (await socket.answers(1))["x"].last["error"]["code"] == 404


async def test_a_stream_id_that_runs_is_not_taken_twice(server: ServerProcess) -> None:
    """Neither that error nor the one for a cancel of nothing names a stream: it would end it."""
    async with opened(server) as socket:
        await socket.create("same", max_tokens=300)
        await socket.create("same", max_tokens=5)
        await socket.cancel("other")
        answers = await socket.answers(3)
    errors = {frame["error"]["code"]: frame["status"] for frame in answers[None].frames}
    assert errors == {"stream_id_in_use": 400, "stream_not_found": 404}
    assert answers["same"].last["usage"]["completion_tokens"] == 300


async def test_too_many_streams_are_refused(server: ServerProcess) -> None:
    """A 65th on one socket, and those that the pool has no room for: 429, and when to try again."""
    async with opened(server) as socket:
        for _ in range(65):
            await socket.create(None, max_tokens=5000)
        while (frame := await socket.receive())["type"] != "error":
            pass
        assert frame["status"] == 429 and frame["error"]["code"] == "too_many_streams"
        assert frame["error"]["headers"]["Retry-After"]
    server.wait_until_empty()
    async with opened(server) as socket:
        for number in range(20):  # the engine computes eight, and eight wait
            await socket.create(f"s{number}", max_tokens=5000)
        for _ in range(4):
            while (frame := await socket.receive())["type"] != "error":
                pass
            assert frame["status"] == 429 and frame["error"]["code"] == "queue_full"
            assert frame["stream_id"] in ("s16", "s17", "s18", "s19")
    server.wait_until_empty()


async def test_too_many_bytes_are_refused(server: ServerProcess) -> None:
    """What waits on one socket is bounded by what one body over HTTP may be."""
    long = [{"role": "user", "content": "x" * 1_000_000}]
    async with opened(server) as socket:
        await socket.create(None, max_tokens=5000)
        for _ in range(17):
            await socket.create(None, messages=long)
        while (frame := await socket.receive())["type"] != "error":
            pass
        assert frame["status"] == 429 and frame["error"]["code"] == "too_many_streams"
    server.wait_until_empty()


async def test_a_killed_engine_costs_its_streams_a_pause(tmp_path: Path) -> None:
    """They go on where they were, and show the text that they would have shown."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(tmp_path / "home") as server:
        async with opened(server) as socket:
            await socket.create("a", max_tokens=500)
            whole = (await socket.answers(1))["a"]
            await socket.create("b", max_tokens=500)
            os.kill(server.engines()[0].pid, signal.SIGKILL)
            answer = (await socket.answers(1))["b"]
            assert answer.text == whole.text and answer.last["finish_reason"] == "length"
