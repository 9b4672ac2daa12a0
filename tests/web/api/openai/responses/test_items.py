"""Tests of responses.items and turns: what is kept of items, and what templates read of them."""

from typing import Any

import pytest

from runtime.requests import ChatMessage
from web.api.openai.responses import items
from web.api.openai.responses.items import MAX_REFERENCES, normal, references
from web.api.openai.responses.sealed_text import sealed
from web.api.openai.responses.turns import _MAX_OPENED, turns_of
from web.errors import ApiError

CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at":"sky"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "blue"}
CALLED: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at":"sky"}'},
}


def turns(*sent: dict[str, Any], instructions: str | None = None) -> list[ChatMessage]:
    return list(turns_of(normal(list(sent), {}), instructions, 0))


def said(role: str, *texts: str, kind: str = "input_text") -> dict[str, Any]:
    return {"role": role, "content": [{"type": kind, "text": text} for text in texts]}


def thought(text: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": text}]
    return {"type": "reasoning", "summary": [], "content": content} | fields


def test_a_text_is_a_users_message() -> None:
    (item,) = normal("hello", {})
    assert item.pop("id").startswith("msg_")
    assert item == {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "hello"}],
    }


def test_messages_of_all_roles_and_of_several_parts() -> None:
    told = turns(
        said("developer", "a", "b"),
        {"role": "system", "content": "c"},
        said("user", "d"),
        said("assistant", "e", kind="output_text"),
        {"type": "message", "role": "user", "content": "f", "id": "msg_own", "status": "completed"},
        instructions="first",
    )
    assert told == [
        ChatMessage("system", "first"),
        ChatMessage("system", "ab"),
        ChatMessage("system", "c"),
        ChatMessage("user", "d"),
        ChatMessage("assistant", "e"),
        ChatMessage("user", "f"),
    ]


def test_what_was_thought_said_and_called_in_one_go_is_one_turn() -> None:
    told = turns(
        said("user", "how?"),
        thought("hm"),
        said("assistant", "I look.", kind="output_text"),
        CALL,
        CALL | {"call_id": "call_2"},
        OUTPUT,
        OUTPUT | {"call_id": "call_2", "output": [{"type": "input_text", "text": "green"}]},
        said("assistant", "Both.", kind="output_text"),
    )
    assert told[1] == ChatMessage(
        "assistant", "I look.", tool_calls=[CALLED, CALLED | {"id": "call_2"}],
        reasoning_content="hm",
    )  # fmt: skip
    assert told[2:] == [
        ChatMessage("tool", "blue", tool_call_id="call_1"),
        ChatMessage("tool", "green", tool_call_id="call_2"),
        ChatMessage("assistant", "Both."),
    ]


def test_a_turn_ends_where_another_begins() -> None:
    """Words, calls and words again are two turns; so are calls and thoughts behind them."""
    words = said("assistant", "a", kind="output_text")
    assert turns(CALL, words) == [ChatMessage("assistant", "a", tool_calls=[CALLED])]
    assert [turn.content for turn in turns(words, CALL, words)] == ["a", "a"]
    assert turns(words, thought("b"), CALL)[0].reasoning_content == "b"
    told = turns(thought("A"), words, thought("B"), words)
    assert [turn.reasoning_content for turn in told] == ["A", "B"]
    assert turns(thought("A"), words, thought("B"))[0].reasoning_content == "AB"
    first, second = turns(CALL, thought("b"), CALL)
    assert first.reasoning_content is None and second.reasoning_content == "b"


def test_calls_without_words_have_none() -> None:
    assert turns(CALL)[0].content is None


def test_custom_tools_are_functions_with_one_argument() -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": 'say "hi"\n'}
    told = turns(call, {"type": "custom_tool_call_output", "call_id": "c", "output": "hi"})
    function = {"name": "run", "arguments": '{"input": "say \\"hi\\"\\n"}'}
    assert told[0].tool_calls == [{"id": "c", "type": "function", "function": function}]
    assert told[1] == ChatMessage("tool", "hi", tool_call_id="c")


def test_a_function_of_a_namespace_is_called_by_both_names() -> None:
    (turn,) = turns(CALL | {"namespace": "eyes"})
    assert turn.tool_calls is not None
    assert turn.tool_calls[0]["function"] == CALLED["function"] | {"name": "eyes.look"}


def test_thoughts_come_back_in_plain_words_or_sealed() -> None:
    """Agents send back only what was sealed; of another service's nobody can read anything."""
    behind = said("assistant", "x", kind="output_text")
    for item, words in [
        (thought("hm"), "hm"),
        (thought("hm", encrypted_content=sealed("other")), "hm"),
        ({"type": "reasoning", "summary": [], "encrypted_content": sealed("hm")}, "hm"),
        ({"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}, None),
        ({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]}, None),
    ]:
        assert turns(item, behind) == [ChatMessage("assistant", "x", reasoning_content=words)]


def test_a_compaction_is_what_the_system_says() -> None:
    (turn,) = turns({"type": "compaction", "encrypted_content": sealed("They met.")})
    assert turn.role == "system" and turn.content is not None and "They met." in turn.content


def test_references_stand_for_items_that_are_kept() -> None:
    known = {"msg_1": normal("hello", {})[0] | {"id": "msg_1"}}
    sent: list[dict[str, Any]] = [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}]
    assert references([*sent, CALL]) == {"msg_1"}
    with pytest.raises(ApiError, match="references"):
        references(sent * MAX_REFERENCES)
    first, second = normal(sent, known)
    assert first == known["msg_1"]
    assert second["content"] == first["content"] and second["id"] != first["id"]


def test_references_are_bounded_by_what_they_stand_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes may refer to many, many times."""
    monkeypatch.setattr(items, "MAX_REFERRED_BYTES", 1000)
    known = {"msg_1": normal("x" * 200, {})[0] | {"id": "msg_1"}}
    assert len(normal([{"id": "msg_1"}] * 2, known)) == 2
    with pytest.raises(ApiError, match=r"input\[3\] refers to more than"):
        normal([{"id": "msg_1"}] * 4, known)


def test_every_item_has_an_id_of_its_own() -> None:
    """Else a list of them in pages goes round for ever."""
    made = normal([{"role": "user", "content": "x", "id": "msg_x"}] * 3, {})
    assert made[0]["id"] == "msg_x" and len({item["id"] for item in made}) == 3


def test_ids_stay_and_are_made_where_there_is_none() -> None:
    own, made, empty = normal([CALL | {"id": "fc_own"}, CALL, CALL | {"id": ""}], {})
    assert own["id"] == "fc_own"
    assert made["id"].startswith("fc_") and empty["id"].startswith("fc_")
    assert made["id"] != empty["id"]


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        ([{"type": "wat"}], "input[0] is of the type 'wat'"),
        ([{}], "input[0] has no 'type'"),
        ([{"type": 5}], "input[0] has no 'type'"),
        ([{"role": "tool", "content": "x"}], "input[0] has the role 'tool'"),
        ([{"role": ["user"], "content": "x"}], "input[0] has the role"),
        ([{"role": "user"}], "input[0] has a 'content' that is neither"),
        ([{"role": "user", "content": ["x"]}], "part of the type None"),
        ([said("user", "x", kind="input_image")], "part of the type 'input_image'"),
        ([{"role": "user", "content": [{"type": ["input_text"]}]}], "part of the type"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "a part without a text"),
        ([CALL, OUTPUT | {"call_id": "call_9"}], "input[1] is the output of 'call_9'"),
        ([OUTPUT, CALL], "input[0] is the output of 'call_1', which no item before it calls"),
        ([CALL, OUTPUT | {"output": 5}], "input[1] has an 'output' that is neither"),
        ([CALL, OUTPUT | {"output": None}], "input[1] has an 'output' that is neither"),
        ([{"type": "function_call", "call_id": "c", "name": "x"}], "in its field 'arguments'"),
        ([{"type": "function_call", "name": "x", "arguments": ""}], "in its field 'call_id'"),
        ([{"type": "reasoning", "content": [5]}], "no list of texts"),
        ([{"type": "reasoning", "content": "hm"}], "no list of texts"),
        ([{"type": "reasoning", "content": 5}], "no list of texts"),
        ([{"type": "compaction", "encrypted_content": "gAAAA"}], "not made here"),
        ([{"type": "item_reference", "id": "msg_no"}], "refers to the item 'msg_no'"),
        ([{"type": "item_reference", "id": ["x"]}], "refers to the item"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(sent: list[dict[str, Any]], what: str) -> None:
    with pytest.raises(ApiError) as raised:
        turns(*sent)
    assert raised.value.status == 400 and raised.value.param == "input"
    assert what in str(raised.value)


def test_numbers_are_those_of_the_request() -> None:
    """What earlier responses said is not counted."""
    before = normal([CALL], {})
    with pytest.raises(ApiError, match=r"input\[0\] is the output"):
        turns_of([*before, *normal([OUTPUT | {"call_id": "no"}], {})], None, len(before))


def test_what_unfolds_without_end_is_refused() -> None:
    """Each within bounds, and all of them not."""
    item = {"type": "reasoning", "encrypted_content": sealed("ü" * (_MAX_OPENED // 6))}
    assert len(turns(*[item] * 3)) == 1
    with pytest.raises(ApiError, match=r"input\[3\] holds more than"):
        turns(*[item] * 4)
