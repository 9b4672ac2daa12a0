"""Tests of usage and timings: the same numbers in every API, whole and streamed."""

import json
from typing import Any

import httpx

from tests.serving import KEY, ServerProcess

SETTINGS: dict[str, Any] = {"model": "tiny", "max_tokens": 9, "temperature": 0}
MESSAGES = [{"role": "user", "content": "Hello you"}]
TIMES = {"queued_ms", "prefill_ms", "decode_ms", "ttft_ms", "decode_tokens_per_second"}
TIMINGS = TIMES | {"predicted_ttft_ms", "predicted_bytes", "measured_bytes"}


def ask(server: ServerProcess, path: str, **body: Any) -> list[dict[str, Any]]:
    """The whole, and what a stream tells of it in the end."""
    headers = {"Authorization": f"Bearer {KEY}"}
    told = []
    options = {} if "messages" in path else {"stream_options": {"include_usage": True}}
    for more in ({}, {"stream": True, **options}):
        response = httpx.post(
            server.url + path, json=SETTINGS | body | more, headers=headers, timeout=60
        )
        if not more:
            told.append(response.json())
            continue
        lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
        told += [event for event in map(json.loads, lines) if event.get("timings")]
    return told


def test_they_are_the_same_everywhere(server: ServerProcess) -> None:
    """By an engine of its own: what tests before have left in one is no part of this."""
    headers = {"Authorization": f"Bearer {KEY}"}
    httpx.delete(f"{server.url}/v1/models/tiny", headers=headers, timeout=60)
    for path, body in (
        ("/v1/chat/completions", {"messages": MESSAGES}),
        ("/v1/completions", {"prompt": "Hello you"}),
        ("/v1/messages", {"messages": MESSAGES}),
    ):
        ask(server, path, **body)  # from here on as much of the prompt is known to all
        whole, last = ask(server, path, **body)
        assert whole["usage"] == last["usage"]
        assert set(whole["timings"]) == set(last["timings"]) == TIMINGS
        usage = whole["usage"]
        assert (usage.get("completion_tokens") or usage["output_tokens"]) == 9
        assert whole["timings"]["decode_tokens_per_second"] > 0
        told = whole["timings"]
        assert 0 < told["measured_bytes"] <= told["predicted_bytes"] * 1.02


def test_how_wrong_the_model_of_memory_was_is_listed(server: ServerProcess) -> None:
    ask(server, "/v1/completions", prompt="Hello you")
    entry = next(m for m in server.get("/v1/models")["data"] if m["id"] == "tiny")
    assert 0 <= entry["memory_model"]["error_p95"] < 0.5
    assert entry["memory_model"]["margin"] >= 0.02
