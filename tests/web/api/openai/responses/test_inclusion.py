"""Tests of web.api.openai.responses.inclusion: what else of items is told."""

from typing import Any

import pytest

from web.api.openai.responses.inclusion import (
    LOGPROBS,
    SEALED_REASONING,
    check_asked,
    check_includable,
    check_streamed,
    including,
)
from web.api.openai.responses.sealed_text import opened
from web.errors import ApiError

ASKED: dict[str, Any] = {
    "type": "message", "role": "user", "content": [{"type": "input_text", "text": "well?"}],
}  # fmt: skip
THOUGHT: dict[str, Any] = {
    "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}],
}  # fmt: skip


def said(*scores: float, text: str = "no") -> dict[str, Any]:
    logprobs = [{"token": "no", "logprob": score} for score in scores]
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}
    return {"type": "message", "role": "assistant", "content": [part]}


def test_nothing_is_added_unasked() -> None:
    items = [ASKED, THOUGHT, said()]
    assert including(items, []) == including(items, ["file_search_call.results"]) == items


def test_thoughts_are_sealed_when_they_are_asked_for() -> None:
    """Once: what came sealed stays as it came, and nothing of it is changed where it is kept."""
    foreign = {"type": "reasoning", "summary": [], "encrypted_content": "x"}
    bare = {"type": "reasoning", "summary": []}
    _, told, as_sent, empty = including([ASKED, THOUGHT, foreign, bare], [SEALED_REASONING])
    assert opened(told["encrypted_content"], 100) == "hm" and told["content"] == THOUGHT["content"]
    assert as_sent == foreign and opened(empty["encrypted_content"], 100) == ""
    assert "encrypted_content" not in THOUGHT


def test_probabilities_that_nobody_kept_are_refused() -> None:
    whole = [ASKED, THOUGHT, said(-0.5), said(text="")]
    assert including(whole, [LOGPROBS]) == whole
    with pytest.raises(ApiError, match="created without") as raised:
        including([*whole, said()], [LOGPROBS])
    assert (raised.value.status, raised.value.param) == (400, "include")


def test_events_stay_what_they_were() -> None:
    """Those that were told have it or have it not; those still to come have what was asked for."""
    sealed = including([THOUGHT], [SEALED_REASONING])
    check_streamed([SEALED_REASONING, LOGPROBS], [*sealed, said(-0.5)])
    check_asked([SEALED_REASONING, "file_search_call.results"], [SEALED_REASONING])
    with pytest.raises(ApiError, match=SEALED_REASONING):
        check_streamed([SEALED_REASONING], [THOUGHT])
    with pytest.raises(ApiError, match=LOGPROBS):
        check_streamed([LOGPROBS], [said()])
    with pytest.raises(ApiError, match=LOGPROBS):
        check_asked([SEALED_REASONING, LOGPROBS], [SEALED_REASONING])


def test_what_nobody_knows_is_refused() -> None:
    check_includable([LOGPROBS, SEALED_REASONING, "web_search_call.action.sources"])
    with pytest.raises(ApiError, match="'everything'"):
        check_includable([LOGPROBS, "everything"])
