"""Tests of anthropic.conversation: blocks become turns that chat templates read."""

from typing import Any

import msgspec
import pytest

from runtime.requests import ChatMessage
from web.api.anthropic.conversation import Message, conversation, system_text
from web.errors import ApiError

CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "sky"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "blue"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words, "cache_control": {"type": "ephemeral"}}


def turns(*messages: tuple[str, Any]) -> list[ChatMessage]:
    sent = [{"role": role, "content": content} for role, content in messages]
    return list(conversation(msgspec.convert(sent, list[Message]))[0])


def turn(*messages: tuple[str, Any]) -> str:
    sent = [{"role": role, "content": content} for role, content in messages]
    return conversation(msgspec.convert(sent, list[Message]))[1]


def test_blocks_of_text_are_told_apart() -> None:
    """A reminder and a question in one message do not run into each other."""
    assert turns(("user", [text("a"), text("b")])) == [ChatMessage("user", "a\n\nb")]
    assert turns(("user", "a")) == [ChatMessage("user", "a")]
    said = turns(("user", "a"), ("assistant", [text("b"), text("c")]))[1]
    assert said == ChatMessage("assistant", "bc")


def test_calls_and_results() -> None:
    """A result is a turn of its own, before and behind words where it stands so."""
    told = turns(
        ("user", "how?"),
        ("assistant", [{"type": "thinking", "thinking": "hm", "signature": "s"}, text("ok"), CALL]),
        ("user", [RESULT, text("and?")]),
    )
    assert told[1].reasoning_content == "hm" and told[1].content == "ok"
    assert told[1].tool_calls == [
        {"id": "toolu_1", "type": "function",
         "function": {"name": "look", "arguments": '{"at":"sky"}'}},
    ]  # fmt: skip
    assert told[2:] == [
        ChatMessage("tool", "blue", tool_call_id="toolu_1"),
        ChatMessage("user", "and?"),
    ]


def test_a_call_without_words_has_none() -> None:
    assert turns(("user", "x"), ("assistant", [CALL]))[1].content is None


def test_results_of_several_blocks_and_of_none() -> None:
    for content, expected in (
        ([text("a"), text("b")], "a\n\nb"),
        (None, ""),
        ([], ""),
    ):
        result = RESULT | {"content": content}
        assert (
            turns(("user", "x"), ("assistant", [CALL]), ("user", [result]))[2].content == expected
        )
    failed = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}
    assert turns(("user", "x"), ("assistant", [CALL]), ("user", [failed]))[2].content


def test_a_system_message_in_the_middle_stays_there() -> None:
    told = turns(("user", "a"), ("system", "b"), ("user", "c"))
    assert [message.role for message in told] == ["user", "system", "user"]


def test_how_the_prompt_ends() -> None:
    """An assistant's last words are gone on with; its calls are not."""
    assert turn(("user", "a")) == "new"
    assert turn(("user", "a"), ("assistant", "The answer is (")) == "continued"
    assert turn(("user", "a"), ("assistant", [CALL])) == "new"
    assert turn(("user", "a"), ("assistant", [CALL]), ("user", [RESULT])) == "new"


def test_documents_and_search_results_are_texts() -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    document = {"type": "document", "title": "Notes", "source": plain}
    found = {"type": "search_result", "title": "T", "source": "s", "content": [text("x")]}
    parts = {"type": "document", "source": {"type": "content", "content": [text("y")]}}
    content = turns(("user", [document, found, parts]))[0].content
    assert content == "Notes\nwords\n\nT\ns\nx\n\ny"


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image", "source": {}}], [{"type": "document", "source": {"type": "base64"}}],
        [{"type": "text"}], [{}], [RESULT], [RESULT | {"tool_use_id": 5}],
        [{"type": "search_result", "content": [5], "source": "s"}],
    ],
    ids=str,
)  # fmt: skip
def test_what_a_text_model_cannot_read_is_refused(content: Any) -> None:
    with pytest.raises(ApiError, match=r"messages\[1\]\.content\[0\]"):
        turns(("user", "x"), ("user", content))


@pytest.mark.parametrize(
    "block", [CALL | {"input": "x"}, CALL | {"name": 5}, {"type": "server_tool_use"}], ids=str
)
def test_wrong_blocks_of_an_assistant(block: Any) -> None:
    with pytest.raises(ApiError) as caught:
        turns(("user", "x"), ("assistant", [block]))
    assert caught.value.param == "messages"


def test_the_moving_billing_line_is_nobodys_to_read() -> None:
    """With it every prompt would be new to a cache."""
    billing = "x-anthropic-billing-header: cc_version=2.1.197; cch=12345;"
    assert system_text([text(billing), text("Be brief.")]) == ChatMessage("system", "Be brief.")
    assert system_text(f"{billing}\nBe brief.") == ChatMessage("system", "Be brief.")
    assert system_text([text(billing)]) is None
    assert system_text([text("a"), text("b")]) == ChatMessage("system", "a\n\nb")
    assert system_text(None) is system_text("") is None
