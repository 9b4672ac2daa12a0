"""Tests of responses.response_answer: events of an engine in, numbered events of the wire out."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.checkpoint.model import Model
from runtime.events import (
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    Timings,
    ToolCallDelta,
    Usage,
)
from web.api.openai.responses.body import ResponseBody
from web.api.openai.responses.response_answer import ResponseAnswer
from web.api.openai.responses.response_object import ResponseObject
from web.errors import Failure

from .asking import LAST, LOOK, SHOUT, shape


def answer(**fields: Any) -> ResponseAnswer:
    sent = {"model": "m", "input": "x", "tools": [LOOK, SHOUT]} | fields
    body = msgspec.convert(sent, ResponseBody)
    tools = body.asked_tools()
    response = ResponseObject(body, Model("m", Path()), tools, stores=True)
    return ResponseAnswer(response, callees=tools.callees)


def finished(reason: FinishReason = "stop") -> Finished:
    return Finished(1, reason, Usage(5, 9), Timings(0, 0, 0))


def say(text: str) -> TextDelta:
    return TextDelta(1, text, [1])


def think(text: str) -> ReasoningDelta:
    return ReasoningDelta(1, text, [1])


def call(index: int, name: str, arguments: str) -> ToolCallDelta:
    return ToolCallDelta(1, index, name, arguments, [1])


def told(answer: ResponseAnswer, *events: Event) -> list[dict[str, Any]]:
    """All frames; each has the name of its event, and so is one line for server-sent events."""
    frames = [*answer.begin()]
    for event in events:
        frames += answer.frames(event)
    if isinstance(events[-1], Finished):
        answer.settle()
        frames.append(answer.last())
    bodies = [json.loads(frame.body) for frame in frames]
    assert [frame.name for frame in frames] == [body["type"] for body in bodies]
    return bodies


def test_items_are_opened_and_closed_in_order() -> None:
    events = told(
        answer(), think("h"), think("m"), say("a"), say("b"), call(0, "look", ""),
        call(0, "look", '{"at":"sky"}'), call(1, "shout", '{"input": "h'), call(1, "shout", 'i"}'),
        think("again"), say("c"), finished(),
    )  # fmt: skip
    names = shape(events)
    assert names[2:8] == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
        "content_part.done", "output_item.done",
    ]  # fmt: skip
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == [
        "reasoning", "message", "function_call", "custom_tool_call", "reasoning", "message"
    ]  # fmt: skip
    texts = [item["content"][0]["text"] for item in output if "content" in item]
    assert texts == ["hm", "ab", "again", "c"]  # of each item its own
    assert output[2]["arguments"] == '{"at":"sky"}' and output[3]["input"] == "hi"
    assert {item["status"] for item in output} == {"completed"}
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["completed_at"] is not None


def test_an_answer_of_nothing_is_an_empty_message() -> None:
    events = told(answer(), finished())
    (item,) = events[-1]["response"]["output"]
    assert item["type"] == "message" and item["content"][0]["text"] == ""
    assert shape(events)


def test_what_is_cut_is_incomplete() -> None:
    events = told(answer(), say("a"), finished("length"))
    response = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["completed_at"] is None


@pytest.mark.parametrize("open_item", [say("a"), think("a"), call(0, "shout", '{"input": "a')])
@pytest.mark.parametrize("is_cancelled", [True, False])
def test_what_breaks_in_the_middle_keeps_what_had_come(
    open_item: Event, is_cancelled: bool
) -> None:
    """Deltas, then what is done so far, then one last event."""
    making = answer()
    events = told(making, say("before"), open_item)
    failure = Failure(503, "The engine is gone.", "engine_error")
    rest = [*(making.cancel() if is_cancelled else making.fail(failure)), making.last()]
    events += [json.loads(frame.body) for frame in rest]
    shape(events)
    response = events[-1]["response"]
    assert [event["type"] in LAST for event in events].count(True) == 1
    assert response["output"][-1]["status"] == "incomplete"
    assert response["status"] == ("cancelled" if is_cancelled else "failed")
    code = None if is_cancelled else response["error"]["code"]
    assert code == (None if is_cancelled else "server_error")


def test_a_sign_of_life_is_numbered_too() -> None:
    """Wherever it comes; some clients' clocks do not hear comments."""
    making = answer()
    frames = [*making.begin(), making.progress(), *making.frames(say("a")), making.progress()]
    frames += [
        *making.frames(say("b")),
        making.progress(stage="prefill"),
        *making.frames(finished()),
    ]
    making.settle()
    events = [json.loads(frame.body) for frame in [*frames, making.last()]]
    shape(events)
    lives = [event for event in events[2:] if event["type"] == "response.in_progress"]
    assert len(lives) == 3 and lives[-1]["progress"] == {"stage": "prefill"}
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "ab"


def test_the_last_event_may_be_made_again() -> None:
    """What could not be stored is told there."""
    making = answer()
    told(making, say("a"), finished())
    first = json.loads(making.last().body)
    making.response.stores = False
    second = json.loads(making.last().body)
    assert first["sequence_number"] == second["sequence_number"]
    assert (first["response"]["store"], second["response"]["store"]) == (True, False)
