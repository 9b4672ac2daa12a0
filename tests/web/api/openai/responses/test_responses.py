"""Tests of responses over HTTP, by the official SDK too: what is asked and what comes."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any, Literal

import httpx
import jsonschema
import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI
from pydantic import BaseModel

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model

from .asking import COLOURS, FORMAT, KEYS, LOOK, PLAIN, SCHEMA, SHOUT, shape

BASES = ("/v1", "/mimik-ai/openai/v1")
HEADERS = {"Authorization": f"Bearer {KEY}"}


def post(
    server: ServerProcess, body: dict[str, Any], base: str = "/v1", path: str = "/responses"
) -> httpx.Response:
    url = f"{server.url}{base}{path}"
    return httpx.post(url, json=body, headers=HEADERS, timeout=60)


def events_of(reply: httpx.Response) -> list[dict[str, Any]]:
    """Those of a stream; each is named twice, and the last line ends it."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    frames = [frame for frame in reply.text.split("\n\n") if frame and frame[0] != ":"]
    assert frames.pop() == "data: [DONE]"
    events = []
    for frame in frames:
        name, data = frame.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def create(client: OpenAI, **body: Any) -> Any:
    return client.responses.create(**body)


def streamed(server: ServerProcess, **body: Any) -> list[dict[str, Any]]:
    return events_of(post(server, PLAIN | {"stream": True} | body))


LONG = PLAIN | {"max_output_tokens": 7000}
TEXT = [
    "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
    "output_text.done", "content_part.done", "output_item.done",
]  # fmt: skip
CALL = [
    "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
    "output_item.done",
]  # fmt: skip


@pytest.mark.parametrize("base", BASES)
def test_every_key_is_there(responses_server: ServerProcess, base: str) -> None:
    told = post(responses_server, PLAIN | {"metadata": {"a": "b"}, "user": "u"}, base).json()
    assert told.keys() >= KEYS
    assert told["object"] == "response" and told["id"].startswith("resp_")
    assert told["status"] == "incomplete" and told["completed_at"] is None
    assert told["incomplete_details"] == {"reason": "max_output_tokens"}
    assert told["metadata"] == {"a": "b"} and told["temperature"] == 0
    assert told["usage"]["output_tokens"] == 16
    assert told["text"]["format"] == {"type": "text"}
    (item,) = told["output"]
    assert item["status"] == "incomplete" and item["role"] == "assistant"
    assert item["content"][0].keys() >= {"type", "text", "annotations", "logprobs"}


def test_a_stream_of_text_is_the_whole(responses_server: ServerProcess) -> None:
    events = streamed(responses_server)
    assert shape(events) == [*TEXT, "incomplete"]
    whole = post(responses_server, PLAIN).json()
    assert events[-1]["response"]["output"][0]["content"] == whole["output"][0]["content"]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["usage"] is None and events[0]["response"]["output"] == []


def test_it_says_what_a_chat_says(responses_server: ServerProcess, client: OpenAI) -> None:
    """The same conversation is the same prompt."""
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "And you?"},
    ]
    settings: dict[str, Any] = {"model": "tiny", "seed": 5, "temperature": 1}
    body = settings | {"input": said[1:], "instructions": "Be brief.", "max_output_tokens": 24}
    told = post(responses_server, body).json()
    chat: Any = client.chat.completions.create(messages=said, max_tokens=24, **settings)  # type: ignore[arg-type]
    assert told["output"][0]["content"][0]["text"] == chat.choices[0].message.content
    assert chat.usage is not None
    assert told["usage"]["input_tokens"] == chat.usage.prompt_tokens


@pytest.mark.parametrize("base", BASES)
def test_calls(responses_server: ServerProcess, base: str) -> None:
    body = PLAIN | {
        "tools": [LOOK], "tool_choice": "required", "parallel_tool_calls": False,
        "max_output_tokens": 300, "stream": True,
    }  # fmt: skip
    events = events_of(post(responses_server, body, base))
    assert shape(events) == ["created", "in_progress", *CALL, "completed"]
    (item,) = events[-1]["response"]["output"]
    jsonschema.validate(json.loads(item["arguments"]), LOOK["parameters"])
    assert item["name"] == "look" and item["call_id"].startswith("call_")
    assert events[-1]["response"]["tools"] == [LOOK]


def test_several_calls_are_items_of_their_own(responses_server: ServerProcess) -> None:
    events = streamed(
        responses_server, tools=[LOOK], tool_choice="required", max_output_tokens=800, seed=3,
        temperature=1,
    )  # fmt: skip
    shape(events)
    items = events[-1]["response"]["output"]
    assert len(items) > 1 and {item["type"] for item in items} == {"function_call"}
    ids = {item["call_id"] for item in items} | {item["id"] for item in items}
    assert len(ids) == 2 * len(items)


def test_a_custom_tool_takes_a_text(responses_server: ServerProcess) -> None:
    events = streamed(
        responses_server, tools=[SHOUT], tool_choice={"type": "custom", "name": "shout"},
        parallel_tool_calls=False, max_output_tokens=300,
    )  # fmt: skip
    assert shape(events) == [
        "created", "in_progress", "output_item.added", "custom_tool_call_input.delta",
        "custom_tool_call_input.done", "output_item.done", "completed",
    ]  # fmt: skip
    (item,) = events[-1]["response"]["output"]
    assert item["type"] == "custom_tool_call" and 4 <= len(item["input"]) <= 8
    assert set(item["input"]) <= set('abcdefghijklmnopqrstuvwxyz"\n')


def test_a_tool_of_a_namespace_is_called_and_gone_on_from(responses_server: ServerProcess) -> None:
    space = {"type": "namespace", "name": "eyes", "description": "See.", "tools": [LOOK]}
    asked = {"tools": [space], "parallel_tool_calls": False, "max_output_tokens": 300}
    events = streamed(responses_server, **asked, tool_choice="required")
    assert shape(events) == ["created", "in_progress", *CALL, "completed"]
    told = events[-1]["response"]
    (call,) = told["output"]
    assert (call["name"], call["namespace"]) == ("look", "eyes") and told["tools"] == [space]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "blue"}
    begin = {"role": "user", "content": "hello"}
    tokens = [
        post(responses_server, PLAIN | {"tools": [space]} | more).json()["usage"]["input_tokens"]
        for more in (
            {"input": [result], "previous_response_id": told["id"]},
            {"input": [begin, call, result]},
        )
    ]
    assert tokens[0] == tokens[1]


THOUGHT = [
    "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
    "content_part.done", "output_item.done",
]  # fmt: skip


def test_thoughts_are_an_item_before_the_message(responses_server: ServerProcess) -> None:
    events = streamed(
        responses_server, model="thinking", reasoning={"max_tokens": 12}, text=FORMAT,
        max_output_tokens=200, include=["reasoning.encrypted_content"],
    )  # fmt: skip
    assert shape(events) == [*TEXT[:2], *THOUGHT, *TEXT[2:], "completed"]
    thought, message = events[-1]["response"]["output"]
    assert thought["type"] == "reasoning" and thought["summary"] == []
    assert thought["content"][0]["text"] and thought["encrypted_content"]
    assert json.loads(message["content"][0]["text"])["colour"] in COLOURS
    usage = events[-1]["response"]["usage"]
    assert 12 <= usage["output_tokens_details"]["reasoning_tokens"] < usage["output_tokens"]


def test_thoughts_come_back_in_both_forms(responses_server: ServerProcess) -> None:
    """A client that keeps nothing here sends them itself; the prompt is the same."""
    asked = PLAIN | {
        "model": "thinking", "reasoning": {"max_tokens": 12}, "text": FORMAT,
        "max_output_tokens": 200, "include": ["reasoning.encrypted_content"], "seed": 1,
    }  # fmt: skip
    first = post(responses_server, asked).json()
    thought, message = first["output"]
    question = {"role": "user", "content": "sure?"}
    begin = [{"role": "user", "content": "hello"}]
    sealed = {name: value for name, value in thought.items() if name != "content"}
    tokens = [
        post(responses_server, asked | more).json()["usage"]["input_tokens"]
        for more in (
            {"input": [*begin, thought, message, question]},
            {"input": [*begin, sealed, message, question]},
            {"input": [question], "previous_response_id": first["id"]},
        )
    ]
    without = post(responses_server, asked | {"input": [*begin, message, question]}).json()
    assert len(set(tokens)) == 1 and without["usage"]["input_tokens"] < tokens[0]


def test_structured_output_is_parsed(client: OpenAI) -> None:
    """By the SDK's own accumulator, and its own way to say what it has to be."""

    class Answer(BaseModel):
        colour: Literal["red", "green", "blue"]

    asked: Any = {"model": "tiny", "input": "hello", "text_format": Answer}
    parsed: Any = client.responses.parse(**asked)
    assert parsed.status == "completed" and parsed.completed_at is not None
    assert parsed.output_parsed.colour in COLOURS
    with client.responses.stream(**asked) as stream:
        for _ in stream:
            pass
        final: Any = stream.get_final_response()
    assert final.output_parsed.colour in COLOURS
    told = create(client, model="tiny", input="hello", text=FORMAT)
    jsonschema.validate(json.loads(told.output_text), SCHEMA)


def test_probabilities(responses_server: ServerProcess) -> None:
    events = streamed(responses_server, include=["message.output_text.logprobs"], top_logprobs=2)
    shape(events)
    deltas = [e["logprobs"] for e in events if e["type"] == "response.output_text.delta"]
    part = events[-1]["response"]["output"][0]["content"][0]
    assert [score for delta in deltas for score in delta] == part["logprobs"]
    assert len(part["logprobs"]) == 16
    assert all(len(score["top_logprobs"]) == 2 for score in part["logprobs"])


# --- conversations ------------------------------------------------------------------------------


def test_going_on_is_sending_it_all(client: OpenAI) -> None:
    """By id, item by item, or by reference: the same prompt, read before, and the same answer."""
    ask: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_output_tokens": 20}
    first = create(client, input="hello", instructions="Be kind.", **ask)
    output = [item.model_dump(exclude_unset=True) for item in first.output]
    question: Any = {"role": "user", "content": "And you?"}
    begin: Any = {"role": "user", "content": "hello"}
    ways: list[dict[str, Any]] = [
        {"previous_response_id": first.id, "input": "And you?"},
        {"input": [begin, *output, question]},
        {"input": [begin, {"type": "item_reference", "id": first.output[0].id}, question]},
    ]
    told = [create(client, instructions="Be kind.", **ask, **way) for way in ways]
    assert len({answer.output_text for answer in told}) == 1
    assert len({answer.usage.input_tokens for answer in told if answer.usage}) == 1
    assert told[0].usage is not None and first.usage is not None
    read_before = first.usage.input_tokens + first.usage.output_tokens - 1
    assert told[0].usage.input_tokens_details.cached_tokens >= read_before


def test_instructions_are_of_one_request(client: OpenAI) -> None:
    ask: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_output_tokens": 16}
    first = create(client, input="hello", instructions="a " * 50, **ask)
    second = create(client, input="more", previous_response_id=first.id, **ask)
    assert first.usage is not None and second.usage is not None
    assert second.usage.input_tokens < first.usage.input_tokens + 40
    assert second.instructions is None and second.previous_response_id == first.id


@pytest.mark.parametrize("tool", [LOOK, SHOUT], ids=["function", "custom"])
def test_a_result_is_gone_on_from(client: OpenAI, tool: Any) -> None:
    kind = "function_call" if tool is LOOK else "custom_tool_call"
    first = create(client, 
        model="tiny", input="hello", tools=[tool], tool_choice="required", max_output_tokens=300,
        parallel_tool_calls=False, temperature=0,
    )  # fmt: skip
    (call,) = first.output
    assert call.type == kind
    result: Any = {"type": f"{kind}_output", "call_id": call.call_id, "output": "done"}
    second = create(client, 
        model="tiny", input=[result], previous_response_id=first.id, tools=[tool],
        max_output_tokens=16,
    )  # fmt: skip
    assert second.status in ("completed", "incomplete")
    (item,) = client.responses.input_items.list(second.id)
    assert item.type == f"{kind}_output" and item.id


def test_it_is_asked_again_and_deleted(client: OpenAI) -> None:
    told = create(client, model="tiny", input="hello", max_output_tokens=16)
    assert client.responses.retrieve(told.id) == told
    client.responses.delete(told.id)
    for ask in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(NotFoundError) as raised:
            ask(told.id)
        assert raised.value.code == "response_not_found"
    with pytest.raises(NotFoundError):
        client.responses.input_items.list(told.id)


def test_what_is_not_stored_is_nowhere(client: OpenAI) -> None:
    told = create(client, model="tiny", input="x", max_output_tokens=16, store=False)
    assert told.model_dump()["store"] is False
    with pytest.raises(NotFoundError):
        client.responses.retrieve(told.id)


def test_items_are_listed_in_pages(client: OpenAI) -> None:
    said: Any = [{"role": "user", "content": str(number)} for number in range(25)]
    told = create(client, model="tiny", input=said, max_output_tokens=16)

    def texts(**query: Any) -> list[str]:
        listed: Any = client.responses.input_items.list(told.id, **query)
        return [item.content[0].text for item in listed]

    assert texts() == [str(number) for number in reversed(range(25))]
    assert texts(order="asc", limit=7) == [str(number) for number in range(25)]
    page: Any = client.responses.input_items.list(told.id, order="asc", limit=2)
    assert page.has_more and page.data[-1].id == page.last_id
    rest = client.responses.input_items.list(told.id, order="asc", after=page.last_id, limit=100)
    assert not rest.has_more and len(rest.data) == 23


def test_tokens_are_counted_without_an_answer(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "input": "hello", "instructions": "Be kind."}
    counted = client.responses.input_tokens.count(**asked, tools=[LOOK])  # type: ignore[list-item]
    told = create(client, **asked, tools=[LOOK], max_output_tokens=16)
    assert told.usage is not None and counted.input_tokens == told.usage.input_tokens


def test_a_compacted_conversation_is_gone_on_from(responses_server: ServerProcess) -> None:
    """What people said stays in their words; the rest is one item that only we can read."""
    first = post(responses_server, PLAIN | {"input": "hello there"}).json()
    asked = {"model": "short", "input": "and more", "previous_response_id": first["id"]}
    made = post(responses_server, asked, path="/responses/compact").json()
    assert made["object"] == "response.compaction" and made["usage"]["output_tokens"] > 0
    *messages, summary = made["output"]
    assert [m["content"][0]["text"] for m in messages] == ["hello there", "and more"]
    assert summary.keys() == {"id", "type", "encrypted_content"}
    question = {"role": "user", "content": "Go on"}
    tokens = [
        post(responses_server, PLAIN | {"input": said}).json()["usage"]["input_tokens"]
        for said in ([*made["output"], question], [*messages, question])
    ]
    assert tokens[0] > tokens[1] + 10


def test_what_is_too_long_for_a_summary_is_told(responses_server: ServerProcess) -> None:
    """Nothing of it could be read beside the question."""
    asked = {"model": "short", "input": "word " * 3000}
    reply = post(responses_server, asked, path="/responses/compact")
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["code"] == "context_length_exceeded"


# --- a context that is too short ----------------------------------------------------------------


def long_talk(num_turns: int) -> list[dict[str, Any]]:
    talk: list[dict[str, Any]] = [{"role": "developer", "content": "Be kind."}]
    for number in range(num_turns):
        talk.append({"role": "user", "content": f"question {number}"})
        talk.append({"role": "assistant", "content": f"answer {number}"})
    return [*talk, {"role": "user", "content": "the last"}]


def test_without_truncation_it_is_refused(responses_server: ServerProcess) -> None:
    reply = post(responses_server, PLAIN | {"model": "short", "input": long_talk(80)})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"


def test_with_truncation_the_oldest_is_left_out(responses_server: ServerProcess) -> None:
    """The system's words and the last question are what stays; and as much between as fits."""
    asked = PLAIN | {"model": "short", "truncation": "auto"}
    told = post(responses_server, asked | {"input": long_talk(80)})
    assert told.status_code == 200, told.text
    usage = told.json()["usage"]
    assert 512 // 2 < usage["input_tokens"] <= 512 - 16
    asked["truncation"] = "disabled"
    fewer, more = (
        post(responses_server, asked | {"input": [long_talk(0)[0], *long_talk(80)[-number:]]})
        for number in (5, 2 * 80)
    )
    assert fewer.json()["usage"]["input_tokens"] < usage["input_tokens"]
    assert more.status_code == 400


def test_what_fits_is_not_cut(responses_server: ServerProcess) -> None:
    asked = PLAIN | {"model": "short", "input": long_talk(3)}
    tokens = [
        post(responses_server, asked | {"truncation": way}).json()["usage"]["input_tokens"]
        for way in ("auto", "disabled")
    ]
    assert tokens[0] == tokens[1]


def test_one_message_that_is_too_long_is_refused_all_the_same(
    responses_server: ServerProcess,
) -> None:
    asked = PLAIN | {"model": "short", "truncation": "auto", "input": "word " * 5000}
    reply = post(responses_server, asked)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"


# --- in the background --------------------------------------------------------------------------


async def ended(client: AsyncOpenAI, response_id: str) -> Any:
    """The response when it is over."""
    while True:
        told = await client.responses.retrieve(response_id)
        if told.status not in ("queued", "in_progress"):
            return told


async def test_in_the_background(async_client: AsyncOpenAI) -> None:
    """It is there to be asked for at once, can be followed from anywhere, and is stored."""
    begun = await async_client.responses.create(
        model="tiny", input="hello", background=True, max_output_tokens=60, temperature=0
    )
    assert begun.status in ("queued", "in_progress") and begun.background
    told = await ended(async_client, begun.id)
    assert told.status == "incomplete" and told.usage.output_tokens == 60
    followed = [e async for e in await async_client.responses.retrieve(begun.id, stream=True)]
    assert [event.sequence_number for event in followed] == list(range(len(followed)))
    assert followed[-1].type == "response.incomplete" and followed[-1].response == told
    rest = await async_client.responses.retrieve(begun.id, stream=True, starting_after=7)
    assert [event async for event in rest] == followed[8:]


async def test_a_stream_in_the_background_is_cancelled(async_client: AsyncOpenAI) -> None:
    stream = await async_client.responses.create(
        model="tiny", input="hello", background=True, stream=True, max_output_tokens=7000
    )
    types: list[str] = []
    response_id = ""
    async for event in stream:
        types.append(event.type)
        if event.type == "response.output_text.delta" and types.count(event.type) == 1:
            cancelled = await async_client.responses.cancel(response_id)
            assert cancelled.status == "cancelled"
        if event.type == "response.created":
            response_id = event.response.id
    assert event.type == "response.incomplete" and event.response.status == "cancelled"
    (item,) = event.response.output
    assert item.type == "message" and item.status == "incomplete"
    assert types[:3] == ["response.created", "response.queued", "response.in_progress"]
    again = await async_client.responses.cancel(response_id)
    assert again == await async_client.responses.retrieve(response_id)
    assert again.status == "cancelled" and again.output_text


async def test_one_under_way_is_deleted(
    async_client: AsyncOpenAI, responses_server: ServerProcess
) -> None:
    begun = await async_client.responses.create(
        model="tiny", input="hello", background=True, max_output_tokens=7000
    )
    await async_client.responses.delete(begun.id)
    with pytest.raises(NotFoundError):
        await async_client.responses.retrieve(begun.id)
    responses_server.wait_until_empty()


async def test_a_whole_one_is_cancelled_by_another_client(async_client: AsyncOpenAI) -> None:
    """Whose id is known: in the background by its answer; else by the list of what runs."""
    stream = await async_client.responses.create(
        model="tiny", input="hello", stream=True, max_output_tokens=7000
    )
    async for event in stream:
        if event.type == "response.created":
            shown = await async_client.responses.retrieve(event.response.id)
            assert shown.status == "in_progress"
            (await async_client.responses.cancel(event.response.id))
    assert event.type == "response.incomplete" and event.response.status == "cancelled"


@pytest.mark.parametrize("is_whole", [False, True], ids=["under way", "whole"])
@pytest.mark.parametrize("reads_on", [False, True], ids=["leaves", "reads on"])
async def test_a_client_that_reads_nothing_keeps_nobody_waiting(
    responses_server: ServerProcess, async_client: AsyncOpenAI, is_whole: bool, reads_on: bool
) -> None:
    """Its response is cancelled and stored all the same, also one that it is not told yet."""
    body = LONG | {"stream": True, "prompt_cache_key": "x" * 6_000_000}  # which is told each time
    if is_whole:
        body |= {"max_output_tokens": 16}
    payload = json.dumps(body).encode()
    sock = socket.socket()
    # A system may let a buffer that is not set grow until all that is sent fits in.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    sock.connect(("127.0.0.1", responses_server.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=2**12)
    head = (
        f"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1:{responses_server.port}\r\n"
        "Authorization: Bearer 1234\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    writer.write(head.encode() + payload)
    beginning = await reader.readuntil(b'"id":"resp_')
    response_id = "resp_" + (await reader.readuntil(b'"')).decode().rstrip('"')
    assert b"200" in beginning
    if is_whole:
        responses_server.wait_until_empty()
    told = await async_client.responses.cancel(response_id)
    assert told.status == "cancelled"
    if reads_on:
        rest = await reader.read()
        assert b'"status":"cancelled"' in rest and b"event: response.incomplete" in rest
    writer.transport.abort()
    while True:
        try:
            stored = await async_client.responses.retrieve(response_id)
        except NotFoundError:  # it is about to be
            continue
        if stored.status != "in_progress":
            break
    assert stored.status == "cancelled"
    responses_server.wait_until_empty()


def test_a_page_after_the_other_comes_to_an_end(client: OpenAI) -> None:
    """Whatever ids a client gives its items."""
    said: Any = [{"role": "user", "content": name, "id": f"msg_{name}"} for name in "axbxc"]
    told = create(client, model="tiny", input=said, max_output_tokens=16)
    listed: Any = client.responses.input_items.list(told.id, limit=1, order="asc")
    assert [item.content[0].text for item in listed] == list("axbxc")


def test_where_nothing_may_be_stored(tmp_path: Path) -> None:
    """What asks for it is refused; else the response says that it is not stored."""
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(tmp_path / "home", "--stored-responses", "0") as server:
        assert post(server, PLAIN).json()["store"] is False
        for asked in ({"store": True}, {"background": True}):
            reply = post(server, PLAIN | asked)
            assert reply.status_code == 400, reply.text
            assert reply.json()["error"]["param"] == next(iter(asked))
        assert not list((tmp_path / "home").glob("responses*"))
