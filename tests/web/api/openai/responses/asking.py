"""What tests of responses ask, and how they look at what comes."""

from typing import Any

# Random weights end no answer by themselves; an answer that has to be one of these is over soon.
COLOURS = ["red", "green", "blue"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"enum": COLOURS}},
    "required": ["colour"],
    "additionalProperties": False,
}
FORMAT: dict[str, Any] = {
    "format": {"type": "json_schema", "name": "colour", "schema": SCHEMA, "strict": True}
}
LOOK: dict[str, Any] = {
    "type": "function",
    "name": "look",
    "description": "Looks somewhere.",
    "parameters": {
        "type": "object",
        "properties": {"at": {"enum": ["sky", "sea"]}},
        "required": ["at"],
        "additionalProperties": False,
    },
    "strict": True,
}
SHOUT: dict[str, Any] = {
    "type": "custom",
    "name": "shout",
    "description": "Shouts it.",
    "format": {"type": "grammar", "syntax": "regex", "definition": '[a-z"\\n]{4,8}'},
}
PLAIN: dict[str, Any] = {
    "model": "tiny",
    "input": "hello",
    "temperature": 0,
    "max_output_tokens": 16,
}
# What the open specification wants of every response.
KEYS = {
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model",
    "previous_response_id", "instructions", "output", "error", "tools", "tool_choice", "truncation",
    "parallel_tool_calls", "text", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs",
    "temperature", "reasoning", "usage", "max_output_tokens", "max_tool_calls", "store",
    "background", "service_tier", "metadata", "safety_identifier", "prompt_cache_key",
}  # fmt: skip
LAST = ("response.completed", "response.incomplete", "response.failed")


def shape(events: list[dict[str, Any]]) -> list[str]:
    """The names of events in their order, deltas that follow each other as one; after a look at
    what holds for any stream."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        assert "response" not in event or event["response"].keys() >= KEYS, event
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] in LAST
    _check_items(events)
    names: list[str] = []
    for event in events:
        name = event["type"].removeprefix("response.")
        if not (names and name == names[-1] and name.endswith(".delta")):
            names.append(name)
    return names


def _check_items(events: list[dict[str, Any]]) -> None:
    """Deltas make what is done, what is done is the output, and all of an item has its id."""
    item: dict[str, Any] = {}
    done: list[dict[str, Any]] = []
    text = ""
    for event in events:
        name = event["type"].removeprefix("response.")
        if name == "output_item.added":
            item, text = event["item"], ""
            assert event["output_index"] == len(done) and item["status"] == "in_progress"
        elif name.endswith(".delta"):
            text += event["delta"]
        elif name.endswith("text.done") or name.endswith((".arguments.done", "input.done")):
            (whole,) = (event[key] for key in ("text", "arguments", "input") if key in event)
            assert whole == text
        elif name == "output_item.done":
            assert event["item"].keys() == item.keys() and event["item"]["id"] == item["id"]
            done.append(event["item"])
        if "item_id" in event:
            assert event["item_id"] == item["id"] and event["output_index"] == len(done)
    assert events[-1]["response"]["output"] == done
