"""Tests of openai.chat_body and door.body: what passes, what is refused, and that it is named."""

import json
import math
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from web.api.openai.chat_body import ChatBody, generation_request
from web.api.scheduling import keep_alive_s
from web.door.body import decode
from web.errors import ApiError

BASE: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def parse(**fields: Any) -> Any:
    return generation_request(decode(json.dumps(BASE | fields).encode(), ChatBody), Headers())


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
    "n": [0, 17, 1_000_000, "1", 1.5],
    "top_k": [-2, 1.5, "1", 2**31],
    "min_p": [-0.1, 1.1, "x"],
    "frequency_penalty": [2.1, -2.1, "x"],
    "presence_penalty": [2.1, -2.1, True],
    "repetition_penalty": [0, -1, 11, "x"],
    "logit_bias": [{"5": 101}, {"5": -100.5}, {"x": 3}, {"-1": 3}, {"1.5": 3}, [5], "x", True],
    "logprobs": [1, "yes"],
    "top_logprobs": [3, 21, -1, "x"],
    "stop_token_ids": [[-1], ["x"], 5, [2**31]],
    "min_tokens": [-1, 1.5],
    "ignore_eos": [1, "x"],
    "loop_guard": [1, "x"],
    "tools": [
        [{"type": "function"}], [{"type": "custom", "custom": {"name": "f"}}], [{}], {},
        [{"type": "function", "function": {"name": ""}}],
        [{"type": "function", "function": {"name": "a b"}}],
        [{"type": "function", "function": {"name": "f" * 129}}],
        [{"type": "function", "function": {"name": "f\u00e9"}}],
        [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}],
        [{"type": "function", "function": {"name": "f"}}] * 2,
        [{"type": "function", "function": {"name": f"f{n}"}} for n in range(10_000)],
    ],
    "tool_choice": [
        "required", "sometimes", 5, {}, {"type": "function"},
        {"type": "function", "function": {"name": "f"}}, {"type": "custom"},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
    ],
    "response_format": [
        {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": []}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": "yes"}},
        {"type": "xml"}, {}, {"type": "regex"}, {"type": "choice", "choice": []}, "json",
    ],
    "structured_outputs": [{"json": "{"}, {"choice": [1]}, {"xml": 1}, {"regex": 5}, "x"],
    "guided_choice": [["a", 1], "a", [""]],
    "guided_json": ["{", 5],
    "json_schema": ["no json"],
    "functions": [[{}]],
    "function_call": [{"name": "f"}],
    "reasoning_effort": ["enormous", 5],
    "reasoning": [{"effort": "enormous"}, {"max_tokens": -1}, "high"],
    "thinking_budget": [-1, 1.5, "x"],
    "include_reasoning": ["no"],
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
        {"n": 1}, {"logit_bias": {}}, {"logit_bias": []}, {"logprobs": False}, {"top_logprobs": 0},
        {"tools": []}, {"tool_choice": "auto"}, {"response_format": {"type": "text"}},
        {"modalities": ["text"]}, {"parallel_tool_calls": True}, {"store": True},
        {"user": "u"}, {"metadata": {"a": "b"}}, {"service_tier": "auto"}, {"verbosity": "low"},
        {"guided_regex": ""}, {"guided_choice": []}, {"grammar": ""}, {"min_tokens": 0},
        {"ignore_eos": False}, {"stop_token_ids": []}, {"whatever": {"deep": [1]}},
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
    assert parse(enable_thinking=False).input.options["enable_thinking"] is False


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
    assert [m.role for m in request.input.messages] == ["system", "user", "assistant", "tool"]
    assert request.input.messages[1].content == "ab"
    assert request.input.messages[2].tool_calls == [{"id": "1"}]
    assert request.input.messages[3].tool_call_id == "1"


def test_whole_floats_are_integers() -> None:
    """As JSON Schema has it, in every field that takes integers; what is open stays as it was."""
    calls = [{"id": "1", "function": {"name": "f", "arguments": {"x": 2.0}}}]
    message = {"role": "assistant", "content": "", "tool_calls": calls}
    asked = parse(max_tokens=4.0, seed=7.0, messages=[message])
    assert (asked.sampling.max_tokens, asked.sampling.seed) == (4, 7)
    assert type(asked.sampling.seed) is int
    assert repr(asked.input.messages[0].tool_calls[0]["function"]["arguments"]["x"]) == "2.0"
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
    assert parse(messages=call).input.messages[0].tool_calls == [{"x": 2**64 - 1}]


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
    assert 'or send "".' in str(refused(suffix="x"))
    assert 'or send ["text"].' in str(refused(modalities=["audio"]))
