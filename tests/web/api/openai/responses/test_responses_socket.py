"""Tests of responses over a WebSocket: lanes, what belongs to the connection, and bad messages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.serving import KEY, ServerProcess
from tests.sockets import SocketClient, opened

from .asking import LAST, LOOK, PLAIN, shape

RESPONSES = "/v1/responses"
HEADERS = {"Authorization": f"Bearer {KEY}"}
LONG = PLAIN | {"max_output_tokens": 7000}


class Talker:
    """Asks on a socket, and gathers what comes by lane."""

    def __init__(self, socket: SocketClient) -> None:
        self.socket = socket

    async def create(self, stream_id: str | None = None, **body: Any) -> None:
        names = {} if stream_id is None else {"stream_id": stream_id}
        await self.socket.send(**{"type": "response.create"} | PLAIN | names | body)

    async def ended(self, count: int = 1) -> dict[str | None, list[dict[str, Any]]]:
        """All events until so many responses, or errors in their place, are over."""
        lanes: dict[str | None, list[dict[str, Any]]] = {}
        while count:
            event = await self.socket.receive()
            lanes.setdefault(event.pop("stream_id", None), []).append(event)
            count -= event["type"] in (*LAST, "error")
        return lanes

    async def asked(self, **body: Any) -> dict[str, Any]:
        """The response to one request in the lane of all."""
        await self.create(**body)
        return dict((await self.ended())[None][-1]["response"])

    async def refused(self, stream_id: str | None = None, **body: Any) -> dict[str, Any]:
        """The error in the place of a response."""
        await self.create(stream_id, **body)
        ((lane, [event]),) = (await self.ended()).items()
        assert lane == stream_id and event["type"] == "error", event
        return event


@asynccontextmanager
async def talking(server: ServerProcess, path: str = RESPONSES) -> AsyncIterator[Talker]:
    async with opened(server, path) as socket:
        yield Talker(socket)


def alike(events: list[dict[str, Any]]) -> str:
    """The text of a stream."""
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")


# --- by the official clients --------------------------------------------------------------------


# Of the client that the SDK is built on.
@pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")
def test_the_sdk_talks_over_it(client: OpenAI) -> None:
    asked: Any = PLAIN
    with client.responses.connect() as connection:
        texts = []
        previous: dict[str, Any] = {}
        for _ in range(3):
            connection.response.create(**asked, **previous, store=False)
            for event in connection:
                if event.type in LAST:
                    break
            told: Any = event
            texts.append(told.response.output_text)
            previous = {"previous_response_id": told.response.id}
    assert all(texts) and len(set(texts)) > 1


async def test_the_async_sdk_talks_over_it(async_client: AsyncOpenAI) -> None:
    """Calls, their results, and what is wrong in between."""
    tools: Any = {"tools": [LOOK], "parallel_tool_calls": False, "max_output_tokens": 300}
    body: Any = PLAIN | tools
    async with async_client.responses.connect() as connection:
        await connection.response.create(**body, tool_choice="required")
        call: Any = None
        async for event in connection:
            told: Any = event
            if event.type == "response.output_item.done":
                call = told.item
            if event.type in LAST:
                break
        previous = told.response.id
        output: Any = {"type": "function_call_output", "call_id": "call_no", "output": "blue"}
        for call_id, kind in [("call_no", "error"), (call.call_id, "response.created")]:
            await connection.response.create(
                **body | {"input": [output | {"call_id": call_id}], "max_output_tokens": 16},
                previous_response_id=previous,
            )
            async for event in connection:
                told = event
                break
            assert told.type == kind


# --- lanes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["/v1", "/mimik-ai/openai/v1"])
async def test_events_are_those_of_sse(responses_server: ServerProcess, base: str) -> None:
    async with talking(responses_server, f"{base}/responses") as talker:
        await talker.create(stream_id="a")
        events = (await talker.ended())["a"]
    reply = httpx.post(
        f"{responses_server.url}{base}/responses", json=PLAIN, headers=HEADERS, timeout=60
    ).json()
    assert shape(events)[-1] == "incomplete"
    assert alike(events) == reply["output"][0]["content"][0]["text"]


async def test_without_a_name_they_come_one_after_the_other(
    responses_server: ServerProcess,
) -> None:
    async with talking(responses_server) as talker:
        for number in range(3):
            await talker.create(metadata={"n": str(number)})
        events = (await talker.ended(3))[None]
    lasts = [number for number, event in enumerate(events) if event["type"] in LAST]
    starts = [0, *(last + 1 for last in lasts[:-1])]
    parts = [events[a : b + 1] for a, b in zip(starts, lasts, strict=True)]
    assert [shape(part)[-1] for part in parts] == ["incomplete"] * 3
    assert [part[-1]["response"]["metadata"]["n"] for part in parts] == ["0", "1", "2"]


async def test_lanes_run_beside_each_other(responses_server: ServerProcess) -> None:
    """One that answers for long holds up none; two in one lane wait for each other."""
    async with talking(responses_server) as talker:
        await talker.create("long", **LONG)
        await talker.create("short")
        await talker.create("short", metadata={"n": "2"})
        lanes = await talker.ended(2)
        first, second = (e for e in lanes["short"] if e["type"] in LAST)
        assert second["response"]["metadata"] == {"n": "2"}
        assert (
            first["response"]["output"][0]["content"] == second["response"]["output"][0]["content"]
        )
        await talker.socket.send(type="response.cancel", stream_id="long")
        last = (await talker.ended())["long"][-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "cancelled"


async def test_going_on_in_another_lane(responses_server: ServerProcess) -> None:
    """A conversation may be forked."""
    async with talking(responses_server) as talker:
        first = await talker.asked(store=False)
        for lane in ("a", "b"):
            await talker.create(lane, previous_response_id=first["id"], input=lane, store=False)
        lanes = await talker.ended(2)
    used = [lanes[lane][-1]["response"]["usage"] for lane in ("a", "b")]
    assert all(usage["input_tokens_details"]["cached_tokens"] for usage in used)


# --- what belongs to the connection -------------------------------------------------------------


async def test_what_is_not_stored_lives_as_long_as_its_connection(
    responses_server: ServerProcess,
) -> None:
    async with talking(responses_server) as talker, talking(responses_server) as other:
        first = await talker.asked(store=False)
        ask = {"previous_response_id": first["id"], "store": False}
        second = await talker.asked(**ask)
        assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
        event = await other.refused(**ask)
        assert event["status"] == 400
        assert event["error"]["code"] == "previous_response_not_found"
        assert event["error"]["param"] == "previous_response_id"
        third = await talker.asked(previous_response_id=second["id"], store=True)
    async with talking(responses_server) as later:
        await later.refused(**ask)
        fourth = await later.asked(previous_response_id=third["id"])  # which holds all before it
        assert fourth["usage"]["input_tokens"] > third["usage"]["input_tokens"]


async def test_a_going_on_that_fails_ends_what_it_goes_on_from(
    responses_server: ServerProcess,
) -> None:
    async with talking(responses_server) as talker:
        first = await talker.asked(store=False)
        ask = {"previous_response_id": first["id"], "store": False}
        assert (await talker.refused(**ask, temperature=9))["error"]["param"] == "temperature"
        assert (await talker.refused(**ask))["error"]["code"] == "previous_response_not_found"


async def test_a_prompt_is_prepared(responses_server: ServerProcess) -> None:
    """It is read and kept; nothing is said; and the next request goes on from it."""
    words = "the quick brown fox " * 40
    async with talking(responses_server) as talker:
        await talker.create(input=words, generate=False, store=False, instructions="Be kind.")
        events = (await talker.ended())[None]
        assert shape(events) == ["created", "in_progress", "completed"]
        prepared = events[-1]["response"]
        assert prepared["output"] == [] and prepared["usage"]["output_tokens"] == 0
        told = await talker.asked(
            previous_response_id=prepared["id"], input="Well?", instructions="Be kind."
        )
    cached = told["usage"]["input_tokens_details"]["cached_tokens"]
    assert cached >= prepared["usage"]["input_tokens"] - 1 > 100


@pytest.mark.parametrize(
    "body",
    [{"input": []}, {"input": [], "instructions": "Be kind."}, {"input": [], "tools": [LOOK]}],
)
async def test_tools_alone_are_prepared(
    responses_server: ServerProcess, body: dict[str, Any]
) -> None:
    """As agents do before anybody has said anything."""
    async with talking(responses_server) as talker:
        await talker.create(generate=False, store=False, **body | {"input": []})
        prepared = (await talker.ended())[None][-1]["response"]
        assert prepared["status"] == "completed" and prepared["output"] == []
        told = await talker.asked(previous_response_id=prepared["id"], **body | {"input": "hi"})
    assert told["usage"]["output_tokens"] == 16


# --- cancel -------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_id", [True, False])
async def test_a_response_is_cancelled(responses_server: ServerProcess, by_id: bool) -> None:
    """What had come is kept, and can be gone on from."""
    async with talking(responses_server) as talker:
        await talker.create("a", **LONG)
        name: dict[str, Any] = {"stream_id": "a"}
        while True:
            event = await talker.socket.receive()
            if event["type"] == "response.created" and by_id:
                name = {"response_id": event["response"]["id"]}
            if event["type"] == "response.output_text.delta":
                break
        await talker.socket.send(type="response.cancel", **name)
        last = (await talker.ended())["a"][-1]
        assert last["type"] == "response.incomplete"
        told = last["response"]
        assert told["status"] == "cancelled" and told["output"][0]["status"] == "incomplete"
        assert await talker.asked(previous_response_id=told["id"])
    responses_server.wait_until_empty()


async def test_one_that_waits_is_cancelled_at_once(responses_server: ServerProcess) -> None:
    async with talking(responses_server) as talker:
        await talker.create(**LONG)
        while (await talker.socket.receive())["type"] != "response.output_text.delta":
            pass
        await talker.create("other")
        await talker.ended()
        await talker.create()
        for _ in range(2):
            await talker.socket.send(type="response.cancel")
        lanes = await talker.ended(2)
    lasts = [event for event in lanes[None] if event["type"] in LAST]
    assert [last["response"]["status"] for last in lasts] == ["cancelled"] * 2


async def test_leaving_ends_all(responses_server: ServerProcess) -> None:
    async with talking(responses_server) as talker:
        for lane in ("a", "b"):
            await talker.create(lane, **LONG)
        while (await talker.socket.receive())["type"] != "response.output_text.delta":
            pass
    responses_server.wait_until_empty()


# --- progress -----------------------------------------------------------------------------------


async def test_progress_is_told_to_who_asks_for_it(responses_server: ServerProcess) -> None:
    words = "the slow green turtle " * 200
    async with talking(responses_server) as talker:
        await talker.create(input=words, events=["progress"])
        events = (await talker.ended())[None]
        shape([event for event in events if "progress" not in event] and events)
        told = [event["progress"] for event in events if "progress" in event]
        assert {step["stage"] for step in told} >= {"prefill"}
        await talker.create(input=words)
        assert not any("progress" in event for event in (await talker.ended())[None])


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        ({"previous_response_id": "resp_no"}, 400, "previous_response_id",
         "previous_response_not_found"),
        ({"conversation": "c"}, 400, "conversation", "unsupported_parameter"),
        ({"conversation": "c", "previous_response_id": "r"}, 400, "conversation",
         "mutually_exclusive_parameters"),
        ({"background": True}, 400, "background", "unsupported_parameter"),
        ({"max_output_tokens": 15}, 400, "max_output_tokens", "integer_below_min_value"),
        ({"input": [{"type": "wat"}]}, 400, "input", "invalid_value"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, 400,
         "input", "invalid_value"),
        ({"input": None}, 400, "input", "missing_required_parameter"),
        ({"input": "word " * 50_000}, 400, "input", "context_length_exceeded"),
        ({"model": "nobody"}, 404, "model", "model_not_found"),
        ({"prompt": {"id": "p"}}, 400, "prompt", "unsupported_parameter"),
        ({"tools": [{"type": "mcp"}]}, 400, "tools", "invalid_value"),
        ({"include": ["wat"]}, 400, "include", "invalid_value"),
        ({"store": "yes"}, 400, "store", "invalid_value"),
        ({"text": {"format": {"type": "json_schema"}}}, 400, "text", "invalid_value"),
        ({"text": {"format": {"type": "wat"}}}, 400, "text", "invalid_value"),
    ],
)  # fmt: skip
async def test_what_is_wrong_leaves_the_socket_open(
    responses_server: ServerProcess, body: dict[str, Any], status: int, param: str, code: str
) -> None:
    """And over HTTP it is the same error."""
    async with talking(responses_server) as talker:
        await talker.create("running", **LONG)
        while (await talker.socket.receive())["type"] != "response.output_text.delta":
            pass
        await talker.create("a", **body)
        while (event := await talker.socket.receive()).pop("stream_id") != "a":
            assert event["type"] not in (*LAST, "error")
        assert event["type"] == "error" and event["status"] == status, event
        assert event["error"]["code"] == code and event["error"]["param"] == param
        await talker.create("a")
        while True:
            event = await talker.socket.receive()
            assert event["type"] != "error"
            if event["stream_id"] == "a" and event["type"] in LAST:
                break
    if "background" not in body:
        url = f"{responses_server.url}/v1/responses"
        reply = httpx.post(url, json=PLAIN | body, headers=HEADERS, timeout=60)
        assert reply.status_code == status and reply.json()["error"]["code"] == code


async def test_messages_that_are_none(responses_server: ServerProcess) -> None:
    async with talking(responses_server) as talker:
        messages: list[tuple[dict[str, Any], int]] = [
            ({"type": "response.wat"}, 400),
            ({"type": "response.cancel"}, 404),
            ({"type": "response.cancel", "response_id": "resp_no"}, 404),
            ({"type": "response.cancel", "stream_id": 5}, 400),
            ({"type": "response.create", "stream_id": ""}, 400),
            ({"type": "resume"}, 400),
            ({"type": "resume", "resume_token": "rt_no"}, 404),
            ({"kind": "response.create"}, 400),
        ]
        for message, status in messages:
            await talker.socket.send(**message)
            event = await talker.socket.receive()
            assert (event["type"], event["status"]) == ("error", status), event
        await talker.socket.connection.send("{")
        assert (await talker.socket.receive())["error"]["code"] == "invalid_json"
        assert (await talker.asked())["status"] == "incomplete"


async def test_steering_is_refused_in_its_own_words(responses_server: ServerProcess) -> None:
    async with talking(responses_server) as talker:
        message = {"previous_response_id": "resp_x", "input": "more"}
        await talker.socket.send(type="response.steer", **message)
        event = await talker.socket.receive()
    assert event["type"] == "response.steer.failed" and event["steer"] == message
    assert event["error"]["code"] == "steering_not_supported"


async def test_too_many_at_once(responses_server: ServerProcess) -> None:
    """One more than 64 is refused, whatever lane it names; those before are answered."""
    async with talking(responses_server) as talker:
        for stream_id in (None, "other"):  # nobody in these lanes is over before it is cancelled
            await talker.create(stream_id, **LONG)
        for number in range(62):
            await talker.create("other" if number % 2 else None)
        await talker.create("late")
        lanes = await talker.ended()
        assert lanes["late"][-1]["error"]["code"] == "too_many_streams"
        assert lanes["late"][-1]["status"] == 429
        await talker.socket.send(type="response.cancel")
        await talker.socket.send(type="response.cancel", stream_id="other")
        lanes = await talker.ended(64)
    assert not any(event["type"] == "error" for lane in lanes.values() for event in lane)
