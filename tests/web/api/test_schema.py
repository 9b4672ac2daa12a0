"""Tests of web.api.schema and web.door.body: what passes, what is refused, and that it is named."""

import json
import math
from typing import Any

import pytest

from web.api.schema import ChatBody, generation_request, keep_alive_s
from web.door.body import decode
from web.errors import ApiError

BASE: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def parse(**fields: Any) -> Any:
    return generation_request(decode(json.dumps(BASE | fields).encode(), ChatBody))


def refused(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(**fields)
    assert caught.value.status == 400
    return caught.value


# For each parameter, values that cannot be honoured.
WRONG: dict[str, list[object]] = {
    "temperature": [-0.1, 2.01, "1", True, [], {}, 1e308],
    "top_p": [-1, 1.1, "x", True, []],
    "max_tokens": [0, -1, 1.5, "1", True, [], 2**63],
    "max_completion_tokens": [0, -1, 1.5, "1", True, [], 2**63],
    "stop": [[""], "", ["a"] * 5, 7, [7], "x" * 2000, True],
    "seed": [2**63, -(2**63) - 1, 1.5, "1", True, []],
    "stream": ["true", 1, []],
    "model": ["", 1, None, []],
    "messages": [
        [], None, "hi", [1], [{}], [{"role": "user"}], [{"role": "alien", "content": "x"}],
        [{"role": "user", "content": 5}], [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "assistant", "content": None}],
    ],
    "n": [2, 1_000_000, "1"],
    "frequency_penalty": [0.5],
    "presence_penalty": [-1],
    "logit_bias": [{"5": 3}],
    "logprobs": [True],
    "top_logprobs": [3],
    "tools": [[{"type": "function"}]],
    "tool_choice": ["required"],
    "response_format": [{"type": "json_object"}, {"type": "json_schema"}],
    "functions": [[{}]],
    "function_call": [{"name": "f"}],
    "reasoning_effort": ["high"],
    "modalities": [["audio"]],
    "audio": [{}],
    "stream_options": [{"include_usage": True}],
    "keep_alive": ["soon"],
    "chat_template_kwargs": [{"tokenize": True}, {"enable_thinking": "yes"}],
    "enable_thinking": ["no"],
    "metadata": [{"a": 1}, {"k" * 65: "v"}, {"k": "v" * 513}, {str(n): "" for n in range(17)}],
    "verbosity": ["loud", 5],
    "store": ["x"],
    "user": [5],
    "priority": ["urgent", "Background", "", 0, 1.0, True, [], {}],
    "max_ttft_ms": [0, -0.0, -1, "1", True, [], {}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_honoured_is_a_400_that_names_it(name: str, value: Any) -> None:
    """No wrong or unsupported value is ever taken silently."""
    error = refused(**{name: value})
    assert error.param == name or name in str(error)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1}, {"frequency_penalty": 0}, {"presence_penalty": 0.0}, {"logit_bias": {}},
        {"logprobs": False}, {"top_logprobs": 0}, {"tools": []}, {"tool_choice": "auto"},
        {"tool_choice": "none"}, {"response_format": {"type": "text"}}, {"modalities": ["text"]},
        {"reasoning_effort": "none"}, {"parallel_tool_calls": True}, {"store": True},
        {"user": "u"}, {"metadata": {"a": "b"}}, {"service_tier": "auto"}, {"top_k": 0},
        {"verbosity": "low"},
        {"min_p": 0.0}, {"repetition_penalty": 1}, {"whatever": {"deep": [1]}},
        # What an answer is gone on with is never a client's.
        {"drawn": [1, 2], "tokens": [3], "prompt": [4], "id": 5, "is_suspect": True},
        {name: None for name in ("temperature", "top_p", "stop", "seed", "n", "tools", "stream")},
        {"priority": None, "max_ttft_ms": None}, {"priority": "interactive"},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    ],
    ids=str,
)  # fmt: skip
def test_neutral_ignored_and_unknown_fields_pass(fields: dict[str, Any]) -> None:
    """SDKs and routine callers send these; they change nothing."""
    assert parse(**fields) == parse()


def test_defaults_and_limits() -> None:
    """The documented ranges and defaults, ends included."""
    sampling = parse().sampling
    # Left to the model.
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (None, None, None)
    assert parse(temperature=0).sampling.temperature == 0
    assert parse(temperature=2, top_p=0).sampling.top_p == 0
    assert parse(max_tokens=5).sampling.max_tokens == 5
    assert parse(max_tokens=5, max_completion_tokens=9).sampling.max_tokens == 9
    assert parse(stop="x").sampling.stop == ("x",)
    assert parse(seed=-5).sampling.seed == -5
    assert parse(priority="background").priority == "background"
    assert (parse().max_ttft_s, parse(max_ttft_ms=250).max_ttft_s) == (None, 0.25)
    assert parse(enable_thinking=False).template_options == {"enable_thinking": False}


def test_messages_become_what_templates_read() -> None:
    """Text parts are joined, developer is system, tool turns keep their fields."""
    request = parse(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": text} for text in "ab"]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "42", "tool_call_id": "1"},
        ]
    )  # fmt: skip
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "tool"]
    assert request.messages[1].content == "ab"
    assert request.messages[2].tool_calls == [{"id": "1"}]
    assert request.messages[3].tool_call_id == "1"


def test_whole_floats_are_integers() -> None:
    """As JSON Schema has it, in every field that takes integers; what is open stays as it was."""
    calls = [{"id": "1", "function": {"name": "f", "arguments": {"x": 2.0}}}]
    message = {"role": "assistant", "content": "", "tool_calls": calls}
    asked = parse(max_tokens=4.0, seed=7.0, messages=[message])
    assert (asked.sampling.max_tokens, asked.sampling.seed) == (4, 7)
    assert type(asked.sampling.seed) is int
    assert repr(asked.messages[0].tool_calls[0]["function"]["arguments"]["x"]) == "2.0"
    for wrong in (4.5, 0.0, -1.0, 1e300):
        assert refused(max_tokens=wrong, seed=1.0).param == "max_tokens"
    assert refused(max_tokens=1.0, seed=1e19).param == "seed"


def test_integers_that_no_process_could_carry_are_refused() -> None:
    """Beyond 64 bits, in any open field."""
    for number in (-231050743355263811584, 2**64):
        call = [{"role": "assistant", "content": "", "tool_calls": [{"x": [{"y": number}]}]}]
        assert refused(messages=call).param == "messages"
        assert refused(chat_template_kwargs={"x": number}).param == "chat_template_kwargs"
    call = [{"role": "assistant", "content": "", "tool_calls": [{"x": 2**64 - 1}]}]
    assert parse(messages=call).messages[0].tool_calls == [{"x": 2**64 - 1}]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (5, 5),
        (0, 0),
        (-1, math.inf),
        ("-1", math.inf),
        ("5m", 300),
        ("1.5h", 5400),
        ("90", 90),
        ("2 m", 120),
    ],
)
def test_keep_alive(value: Any, seconds: float | None) -> None:
    """Seconds, durations, and for ever."""
    assert keep_alive_s(value) == seconds


def test_messages_speak_json() -> None:
    """What to send instead is written as it is sent."""
    assert "or send false." in str(refused(logprobs=True))
    assert 'or send {"type":"text"}.' in str(refused(response_format={"type": "json_object"}))
