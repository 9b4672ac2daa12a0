"""Tests of streams that outlive their connection, on both sockets and over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model
from tests.sockets import CHAT, SocketClient, opened

from .asking import LAST, PLAIN, shape

RESPONSES = "/v1/responses"
HEADERS = {"Authorization": f"Bearer {KEY}"}
LONG = PLAIN | {"max_output_tokens": 400}
ENDLESS = PLAIN | {"max_output_tokens": 7000}
OVER = (*LAST, "error", "chat.completion.done")


async def create(socket: SocketClient, path: str, stream_id: str, **body: Any) -> None:
    """The same question on either socket."""
    asked = {"model": "tiny", "temperature": 0, "resumable": True, "stream_id": stream_id} | body
    if path == RESPONSES:
        await socket.send(**{"type": "response.create", "input": "hello"} | asked)
    else:
        asked["max_tokens"] = asked.pop("max_output_tokens", 16)
        asked["messages"] = [{"role": "user", "content": asked.pop("input", "hello")}]
        await socket.send(type="chat.completion.create", **asked)


async def receive(socket: SocketClient, count: int | None = None) -> list[dict[str, Any]]:
    """So many events, or all to the last one."""
    events: list[dict[str, Any]] = []
    while len(events) != count:
        events.append(await socket.receive())
        if events[-1]["type"] in OVER:
            break
    return events


async def lose(socket: SocketClient) -> None:
    """The connection is gone, and nobody said a word."""
    socket.connection.transport.abort()
    await socket.connection.wait_closed()


def text(events: list[dict[str, Any]]) -> str:
    """What a stream says."""
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    for event in events:
        for choice in event.get("choices") or ():
            deltas.append(choice["delta"].get("content") or "")
    return "".join(deltas)


@pytest.mark.parametrize("path", [RESPONSES, CHAT])
async def test_a_lost_connection_loses_nothing(responses_server: ServerProcess, path: str) -> None:
    """Wherever it breaks, what is told on the new one is what was missing, each event once."""
    async with opened(responses_server, path) as socket:
        await create(socket, path, "a", max_output_tokens=120, resumable=False)
        whole = text(await receive(socket))
    for count in (1, 2, 5, 40):
        async with opened(responses_server, path) as first:
            await create(first, path, "a", max_output_tokens=120)
            before = await receive(first, count)
            await lose(first)
        if before[-1]["type"] in OVER:  # a busy machine tells all in fewer events
            continue
        token, last = before[0]["resume_token"], before[-1]["sequence_number"]
        async with opened(responses_server, path) as second:
            await second.send(type="resume", resume_token=token, after=last)
            behind = await receive(second)
        events = [*before, *behind]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert {event["stream_id"] for event in events} == {"a"}
        assert text(events) == whole
    responses_server.wait_until_empty()


@pytest.mark.parametrize("path", [RESPONSES, CHAT])
async def test_it_is_come_back_to_as_often_as_one_likes(
    responses_server: ServerProcess, path: str
) -> None:
    """Also when it is over, from the beginning, and under another name."""
    async with opened(responses_server, path) as socket:
        await create(socket, path, "a", max_output_tokens=40)
        events = await receive(socket)
    resume = {"type": "resume", "resume_token": events[0]["resume_token"]}
    for after in (-1, 5, len(events) - 1):
        async with opened(responses_server, path) as socket:
            await socket.send(**resume, after=after, stream_id="other")
            if after < len(events) - 1:
                told = await receive(socket)
                assert {event.pop("stream_id") for event in told} == {"other"}
                assert told == [
                    {k: v for k, v in e.items() if k != "stream_id"} for e in events[after + 1 :]
                ]
            await socket.send(**resume, after=len(events))
            assert (await receive(socket))[0]["error"]["param"] == "after"


@pytest.mark.parametrize("path", [RESPONSES, CHAT])
async def test_a_close_frame_ends_it_at_once(responses_server: ServerProcess, path: str) -> None:
    async with opened(responses_server, path) as socket:
        await create(socket, path, "a", **ENDLESS | {"model": "tiny"})
        first = await receive(socket, 9)
    responses_server.wait_until_empty()
    async with opened(responses_server, path) as socket:
        await socket.send(type="resume", resume_token=first[0]["resume_token"])
        (error,) = await receive(socket)
    assert (error["status"], error["error"]["code"]) == (404, "resume_token_not_found")


@pytest.mark.parametrize("path", [RESPONSES, CHAT])
async def test_without_resumable_every_end_ends_it(
    responses_server: ServerProcess, path: str
) -> None:
    async with opened(responses_server, path) as socket:
        await create(socket, path, "a", **ENDLESS | {"resumable": False})
        told = await receive(socket, 9)
        assert not any("resume_token" in event for event in told)
        await lose(socket)
    responses_server.wait_until_empty()


@pytest.mark.parametrize("path", [RESPONSES, CHAT])
async def test_one_that_was_lost_is_cancelled_from_the_new_connection(
    responses_server: ServerProcess, path: str
) -> None:
    async with opened(responses_server, path) as first:
        await create(first, path, "a", **ENDLESS)
        before = await receive(first, 9)
        await lose(first)
    kind = "response" if path == RESPONSES else "chat.completion"
    async with opened(responses_server, path) as second:
        await second.send(
            type="resume", resume_token=before[0]["resume_token"],
            after=before[-1]["sequence_number"],
        )  # fmt: skip
        await receive(second, 3)
        await second.send(type=f"{kind}.cancel", stream_id="a")
        last = (await receive(second))[-1]
    assert last.get("cancelled") or last["response"]["status"] == "cancelled"
    responses_server.wait_until_empty()


async def test_other_lanes_are_not_disturbed(responses_server: ServerProcess) -> None:
    """A foreign token, one of the other socket, a lane that is taken."""
    async with (
        opened(responses_server, CHAT) as chats,
        opened(responses_server, RESPONSES) as socket,
    ):
        await create(chats, CHAT, "a", max_output_tokens=40)
        token = (await receive(chats))[0]["resume_token"]
        await create(socket, RESPONSES, "running", **ENDLESS)
        own = (await receive(socket, 5))[0]["resume_token"]
        for message, code in [
            ({"resume_token": token}, "resume_token_not_found"),
            ({"resume_token": "rt_foreign"}, "resume_token_not_found"),
            ({"resume_token": own}, "stream_id_in_use"),
            ({"resume_token": own, "after": 10**9, "stream_id": "b"}, "invalid_value"),
            ({"resume_token": own, "after": "x"}, "invalid_value"),
        ]:
            await socket.send(type="resume", **message)
            while (event := await socket.receive())["type"] != "error":
                assert event["stream_id"] == "running"
            assert event["error"]["code"] == code, event
        await socket.send(type="response.cancel", stream_id="running")
        events = await receive(socket)
    assert events[-1]["response"]["status"] == "cancelled"


# --- over HTTP ----------------------------------------------------------------------------------


async def lines(reply: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in reply.aiter_lines():
        if line.startswith("data: {"):
            yield json.loads(line[6:])


async def test_over_http_it_is_followed_by_its_id(
    responses_server: ServerProcess, async_client: AsyncOpenAI
) -> None:
    """And on a socket by its token."""
    url = f"{responses_server.url}/v1/responses"
    before: list[dict[str, Any]] = []
    async with httpx.AsyncClient(headers=HEADERS, timeout=60) as client:
        body = LONG | {"stream": True, "resumable": True}
        async with client.stream("POST", url, json=body) as reply:
            async for event in lines(reply):
                before.append(event)
                if len(before) == 9:
                    break
        response_id = before[0]["response"]["id"]
        after = before[-1]["sequence_number"]
        async with client.stream(
            "GET", f"{url}/{response_id}", params={"stream": "true", "starting_after": after}
        ) as reply:
            behind = [event async for event in lines(reply)]
    assert shape([*before, *behind])[-1] == "incomplete"
    async with opened(responses_server, RESPONSES) as socket:
        await socket.send(
            type="resume", resume_token=before[0]["resume_token"], after=after, stream_id="x"
        )
        told = await receive(socket)
    assert [event | {"stream_id": "x"} for event in behind] == told
    stream = await async_client.responses.retrieve(response_id, stream=True, starting_after=after)
    assert [event.sequence_number async for event in stream] == [
        event["sequence_number"] for event in behind
    ]
    asked = {"stream": "true", "starting_after": "100000"}
    wrong = httpx.get(f"{url}/{response_id}", params=asked, headers=HEADERS)
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "starting_after"


async def test_what_was_not_to_be_followed_is_not(responses_server: ServerProcess) -> None:
    url = f"{responses_server.url}/v1/responses"
    told = httpx.post(url, json=PLAIN, headers=HEADERS, timeout=60).json()
    reply = httpx.get(f"{url}/{told['id']}?stream=true", headers=HEADERS)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "stream"
    reply = httpx.get(f"{url}/resp_no?stream=true", headers=HEADERS)
    assert reply.status_code == 404
    reply = httpx.post(url, json=PLAIN | {"resumable": True}, headers=HEADERS)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "resumable"
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "resumable": True}
    reply = httpx.post(f"{responses_server.url}{CHAT}", json=chat, headers=HEADERS)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "resumable"


# --- the server's end ---------------------------------------------------------------------------


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """One that the test may end."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(tmp_path / "home", "--drain-timeout", "0s") as process:
        yield process


async def test_at_the_servers_end_every_stream_has_its_last_frame(
    mortal_server: ServerProcess,
) -> None:
    async with opened(mortal_server, RESPONSES) as socket:
        await create(socket, RESPONSES, "a", **ENDLESS)
        await create(socket, RESPONSES, "b", **ENDLESS | {"resumable": False, "store": False})
        lanes: dict[str, list[dict[str, Any]]] = {}
        while any(len(lanes.get(lane, ())) < 9 for lane in "ab"):
            event = await socket.receive()
            lanes.setdefault(event["stream_id"], []).append(event)
        mortal_server.process.terminate()
        while any(lanes[lane][-1]["type"] not in LAST for lane in "ab"):
            event = await socket.receive()
            lanes[event["stream_id"]].append(event)
        code, _ = await socket.closed()
    for events in lanes.values():
        told = events[-1]["response"]
        assert told["status"] == "failed" and told["error"]["code"] == "server_error"
        assert told["output"][0]["status"] == "incomplete"
    assert code == 1012


@pytest.mark.parametrize("is_killed", [True, False])
async def test_what_the_server_did_not_end_is_told_by_the_next(
    tmp_path: Path, is_killed: bool
) -> None:
    """One in the background; and what was whole before is there."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))

    def url(server: ServerProcess) -> str:
        return f"{server.url}/v1/responses"

    with ServerProcess(tmp_path / "home", "--drain-timeout", "0s") as server:
        whole = httpx.post(url(server), json=PLAIN, headers=HEADERS, timeout=60).json()
        body = ENDLESS | {"background": True, "previous_response_id": whole["id"]}
        begun = httpx.post(url(server), json=body, headers=HEADERS, timeout=60).json()
        while server.num_rows() == 0:
            await asyncio.sleep(0.05)
        if is_killed:
            server.process.kill()
        else:
            server.process.terminate()
        server.process.wait()
    with ServerProcess(tmp_path / "home") as server:
        told = httpx.get(f"{url(server)}/{begun['id']}", headers=HEADERS).json()
        assert told["status"] == "failed" and told["error"]["code"] == "server_error"
        assert httpx.get(f"{url(server)}/{whole['id']}", headers=HEADERS).json() == whole
        on = PLAIN | {"previous_response_id": whole["id"]}
        assert httpx.post(url(server), json=on, headers=HEADERS, timeout=60).status_code == 200
        on = PLAIN | {"previous_response_id": begun["id"]}
        reply = httpx.post(url(server), json=on, headers=HEADERS, timeout=60)
        assert reply.json()["error"]["code"] == "previous_response_not_found"
