"""Tests of structured output in chats, by the official SDK, on a model with random weights."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import jsonschema
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel, Field

from tests.serving import KEY, ServerProcess

ASK: list[Any] = [{"role": "user", "content": "Tell me of a fruit."}]
SETTINGS: dict[str, Any] = {"model": "tiny", "messages": ASK, "max_tokens": 900, "seed": 5}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "colours": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3},
        "price": {"type": "number", "minimum": 0, "maximum": 100},
    },
    "required": ["name", "colours", "price"],
    "additionalProperties": False,
}
FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "fruit", "schema": SCHEMA, "strict": True},
}


class Fruit(BaseModel):
    name: str = Field(max_length=8)
    colour: Literal["red", "green", "blue"]
    weight: int = Field(ge=1, le=500)


@pytest.fixture
def client(server: ServerProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


def text_of(client: OpenAI, **more: Any) -> str:
    answer = client.chat.completions.create(**SETTINGS | more).choices[0]
    assert answer.finish_reason == "stop"
    return answer.message.content or ""


@pytest.mark.parametrize("seed", range(4))
def test_a_schema_holds(client: OpenAI, seed: int) -> None:
    """Whole and streamed; white space has its bounds."""
    settings = SETTINGS | {"seed": seed, "response_format": FORMAT}
    text = text_of(client, seed=seed, response_format=FORMAT)
    jsonschema.validate(json.loads(text), SCHEMA)
    assert not re.search(r"\s{20}", text)
    chunks = client.chat.completions.create(stream=True, **settings)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text


def test_the_sdks_parse_helper(client: OpenAI) -> None:
    """Whole and streamed, a pydantic model comes out."""
    completion = client.chat.completions.parse(response_format=Fruit, **SETTINGS)
    assert isinstance(completion.choices[0].message.parsed, Fruit)
    with client.chat.completions.stream(response_format=Fruit, **SETTINGS) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == completion.choices[0].message.parsed


def test_every_way_to_ask(client: OpenAI) -> None:
    """The words of other servers mean the same, and give the same answer."""
    expected = text_of(client, response_format=FORMAT)
    extra: Any
    for extra in (
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"json_schema": SCHEMA},
        {"structured_outputs": {"json": SCHEMA}},
    ):
        assert text_of(client, extra_body=extra) == expected
    for extra in (
        {"guided_regex": "[ab]{3}c"},
        {"regex": "[ab]{3}c"},
        {"structured_outputs": {"regex": "[ab]{3}c"}},
        {"response_format": {"type": "regex", "regex": "[ab]{3}c"}},
    ):
        assert re.fullmatch("[ab]{3}c", text_of(client, extra_body=extra))
    for extra in (
        {"guided_choice": ["yes", "no"]},
        {"structured_outputs": {"choice": ["yes", "no"]}},
        {"response_format": {"type": "choice", "choice": ["yes", "no"]}},
    ):
        assert text_of(client, extra_body=extra) in ("yes", "no")
    for extra in (
        {"grammar": 'root ::= "a" [0-9] "b"'},
        {"ebnf": 'root ::= "a" [0-9] "b"'},
        {"guided_grammar": 'start: "a" /[0-9]/ "b"'},
        {"response_format": {"type": "grammar", "grammar": 'start: "a" /[0-9]/ "b"'}},
    ):
        assert re.fullmatch("a[0-9]b", text_of(client, extra_body=extra))


def test_an_object_of_any_shape(client: OpenAI) -> None:
    """It may have no end for random weights: then it says that it was cut."""
    settings = SETTINGS | {"response_format": {"type": "json_object"}, "max_tokens": 60}
    answer = client.chat.completions.create(**settings).choices[0]
    text = answer.message.content or ""
    assert text.startswith("{")
    if answer.finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


def test_together_with_tools(client: OpenAI) -> None:
    """The answer follows the schema, or it is a call, whose arguments do if it is strict."""
    look = {"name": "look", "parameters": SCHEMA, "strict": True}
    tool: Any = {"type": "function", "function": look}
    for seed in range(4):
        settings = SETTINGS | {"response_format": FORMAT, "tools": [tool], "seed": seed}
        message = client.chat.completions.create(**settings).choices[0].message
        texts = [call.function.arguments for call in message.tool_calls or ()]
        for text in texts or [message.content or ""]:
            jsonschema.validate(json.loads(text), SCHEMA)


def test_each_of_several_answers(client: OpenAI) -> None:
    choices = client.chat.completions.create(
        **SETTINGS | {"n": 4, "response_format": FORMAT}
    ).choices
    texts = [choice.message.content or "" for choice in choices]
    for text in texts:
        jsonschema.validate(json.loads(text), SCHEMA)
    assert len(set(texts)) > 1


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"guided_json": {"type": "string", "pattern": "(?=x)"}}, "guided_json"),
        ({"guided_json": {"$ref": "https://example.org/x"}}, "guided_json"),
        ({"guided_json": {"allOf": [{"type": "string"}, {"type": "integer"}]}}, "guided_json"),
        ({"guided_regex": "(a"}, "guided_regex"),
        ({"grammar": "root ::= ("}, "grammar"),
        ({"guided_json": SCHEMA, "guided_regex": "a"}, "guided_regex"),
        ({"structured_outputs": {"structural_tag": {}}}, "structured_outputs"),
    ],
    ids=str,
)
def test_what_cannot_be_enforced_is_refused(client: OpenAI, extra: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**SETTINGS, extra_body=extra)
    assert caught.value.param == param


def test_in_the_mimoe_dialect(server: ServerProcess) -> None:
    """With progress between, and usage on the last chunk."""
    response = httpx.post(
        server.url + "/mimik-ai/openai/v1/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        json=SETTINGS | {"response_format": FORMAT},
        timeout=60,
    )
    choice = response.json()["choices"][0]
    jsonschema.validate(json.loads(choice["message"]["content"]), SCHEMA)
