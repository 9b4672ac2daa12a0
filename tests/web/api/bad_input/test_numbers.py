"""Numbers that are none, or huge, in every field, and what is nested deeply: all are named."""

import json

import pytest

from tests.serving import ServerProcess

from .ways import CHATS, COMPLETIONS, MESSAGES, SAID, body_of, nested, refused

_DRAWING = [
    *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty"),
    *("repetition_penalty", "seed", "n", "min_tokens", "max_tokens", "logit_bias"),
    *("stop_token_ids", "keep_alive", "max_ttft_ms"),
]
_OF_CHATS = ["max_completion_tokens", "top_logprobs", "thinking_budget", "thinking_token_budget"]
NUMBERS: dict[str, list[str]] = {
    **{way: _DRAWING + _OF_CHATS for way in CHATS},
    COMPLETIONS: [*_DRAWING, "logprobs", "best_of"],
    MESSAGES: _DRAWING,
}
NO_JSON = ["NaN", "Infinity", "-Infinity", "-NaN", "1e400", "-1e400", "0x10", "01", "1_000"]
HUGE = ["9" * 400, "1e308", "-1e308", str(2**64), str(-(2**63) - 1)]
WRAPPED = {"logit_bias": '{{"1": {}}}', "stop_token_ids": "[{}]"}
UNBOUNDED = {"keep_alive": HUGE, "max_ttft_ms": [*HUGE[:2], HUGE[3]]}  # long is long


@pytest.mark.slow
@pytest.mark.parametrize("way", NUMBERS)
def test_numbers_that_are_none(server: ServerProcess, way: str) -> None:
    """JSON knows no NaN, and no number that a double does not."""
    rest = body_of(way, max_tokens=2)[:-1]
    for name in NUMBERS[way]:
        wrapped = WRAPPED.get(name, "{}")
        for value in NO_JSON:
            told = f'"{name}": {wrapped.format(value)}'
            refused(server, way, f"{rest}, {told}}}", name, is_json=False)


@pytest.mark.slow
@pytest.mark.parametrize("way", NUMBERS)
def test_numbers_that_are_huge(server: ServerProcess, way: str) -> None:
    rest = json.dumps({"model": "tiny"} | SAID[way])[:-1]
    beside = {"top_logprobs": ', "logprobs": true'}
    for name in NUMBERS[way]:
        wrapped = WRAPPED.get(name, "{}")
        limit = "" if name == "max_tokens" else ', "max_tokens": 2'
        for value in HUGE:
            if value in UNBOUNDED.get(name, ()):
                continue
            told = f'"{name}": {wrapped.format(value)}'
            refused(server, way, f"{rest}{limit}{beside.get(name, '')}, {told}}}", name)


@pytest.mark.parametrize("way", SAID)
def test_what_is_nested_deeply(server: ServerProcess, way: str) -> None:
    """In a field that is read, and in one that nobody knows."""
    rest = body_of(way)[:-1]
    name = "output_config" if way == MESSAGES else "response_format"
    for field in (name, "nobody"):
        refused(server, way, f'{rest}, "{field}": {nested(100_000)}}}', is_json=False)
    inside = nested(500)
    if way != MESSAGES:
        told = f'{{"type": "json_schema", "json_schema": {{"name": "x", "schema": {inside}}}}}'
        refused(server, way, f'{rest}, "{name}": {told}}}', name)


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\udc00\\ud800"', '"\x01"', "nul", ""])
def test_texts_that_are_none(server: ServerProcess, text: str) -> None:
    for way in SAID:
        field = "prompt" if way == COMPLETIONS else "model"
        refused(server, way, body_of(way)[:-1] + f', "{field}": {text}}}', is_json=False)
