"""Tests of the recorded session: what clients may send, and each request goes on from the last."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from scripts.bench.memory.recording import (
    NUM_REQUESTS,
    Body,
    anthropic_bodies,
    openai_bodies,
    tools_and_texts,
)
from scripts.bench.memory.session import (
    Read,
    anthropic_read,
    openai_read,
    share_cached,
    share_known,
)
from web.api.anthropic.message_body import MessagesBody
from web.api.openai.chat_body import ChatBody


@pytest.mark.parametrize(
    ("make", "kind"), [(openai_bodies, ChatBody), (anthropic_bodies, MessagesBody)]
)
def test_each_request_has_all_that_was_said_before(
    make: Callable[[], list[Body]], kind: type[msgspec.Struct]
) -> None:
    """A mark where to cache is no part of what is said. The same words on every run."""
    bodies = make()
    assert len(bodies) == NUM_REQUESTS and bodies == make()
    for before, now in zip(bodies, bodies[1:], strict=False):
        assert now["tools"] == before["tools"] and now.get("system") == before.get("system")
        said, known = (_unmarked(body["messages"]) for body in (now, before))
        assert said[: len(known)] == known and len(said) == len(known) + 2
    sizes = [len(json.dumps(body)) for body in bodies]
    assert 40_000 < sizes[0] < 80_000 and sizes[-1] > 1.5 * sizes[0] - 20_000
    for body in bodies:
        whole = json.dumps(body | {"model": "m", "max_tokens": 1})
        msgspec.json.decode(whole, type=kind, strict=True)


def _unmarked(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    text = json.dumps(messages).replace(', "cache_control": {"type": "ephemeral"}', "")
    told: list[dict[str, Any]] = json.loads(text)
    return told


def test_calls_have_their_results() -> None:
    messages = openai_bodies()[-1]["messages"]
    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    answers = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert calls == answers and len(set(calls)) == NUM_REQUESTS - 1
    assert all(isinstance(text, str) for text in tools_and_texts())


def test_the_first_request_counts_for_nothing() -> None:
    """Nobody can have read it before."""
    reads = [Read(100, 0), Read(120, 90), Read(200, 120)]
    assert share_cached(reads) == 210 / 320
    assert share_known(reads) == 220 / 320


def test_both_dialects_tell_the_whole_prompt() -> None:
    """OpenAI's prompt tokens include those that were cached, Anthropic's input tokens do not."""
    openai = {"prompt_tokens": 120, "prompt_tokens_details": {"cached_tokens": 90}}
    anthropic = {"input_tokens": 20, "cache_read_input_tokens": 90,
                 "cache_creation_input_tokens": 10}  # fmt: skip
    assert openai_read(openai) == anthropic_read(anthropic) == Read(120, 90)
