"""Tests of completions by the official SDK: texts that are gone on with as they are."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.serving import KEY, ServerProcess

SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "prompt": "Once upon a time",
    "max_tokens": 12,
    "temperature": 0,
}


@pytest.fixture
def client(server: ServerProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_whole_and_streamed(client: OpenAI) -> None:
    whole = client.completions.create(**SETTINGS)
    assert whole.object == "text_completion" and whole.id.startswith("cmpl-")
    assert whole.choices[0].finish_reason == "length" and whole.choices[0].logprobs is None
    assert whole.usage is not None and whole.usage.completion_tokens == 12
    chunks = list(
        client.completions.create(stream=True, stream_options={"include_usage": True}, **SETTINGS)
    )
    usage = chunks[-1].usage
    assert chunks[-1].choices == [] and usage is not None
    assert usage.completion_tokens == 12 and usage.prompt_tokens == whole.usage.prompt_tokens
    details = usage.prompt_tokens_details
    assert details is not None and details.cached_tokens == usage.prompt_tokens - 1
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert chunks[-2].choices[0].finish_reason == "length"


def test_sixteen_tokens_where_nothing_is_said(client: OpenAI) -> None:
    """As OpenAI's reference has it."""
    answer = client.completions.create(model="tiny", prompt="a", extra_body={"ignore_eos": True})
    assert answer.usage is not None and answer.usage.completion_tokens == 16


def test_texts_and_their_tokens_are_the_same_prompt(server: ServerProcess, client: OpenAI) -> None:
    """In all four shapes."""
    reply = httpx.post(
        server.url + "/tokenize",
        json={"model": "tiny", "prompt": SETTINGS["prompt"]},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    tokens = reply.json()["tokens"]
    text = SETTINGS["prompt"]
    said = []
    for prompt in (text, [text], tokens, [tokens]):
        answer = client.completions.create(**SETTINGS | {"prompt": prompt})
        assert answer.usage is not None and answer.usage.prompt_tokens == len(tokens)
        said.append(answer.choices[0].text)
    assert len(set(said)) == 1


def test_several_prompts_and_answers(client: OpenAI) -> None:
    """The answers to a prompt stand side by side; each prompt is counted once."""
    prompts = ["Once upon", "The moon", "A ship"]
    settings = SETTINGS | {"temperature": 1, "seed": 7}
    answer = client.completions.create(**settings | {"prompt": prompts, "n": 2})
    assert [choice.index for choice in answer.choices] == list(range(6))
    usage = 0
    for number, prompt in enumerate(prompts):
        alone = client.completions.create(**settings | {"prompt": prompt, "n": 2})
        texts = [choice.text for choice in answer.choices[2 * number : 2 * number + 2]]
        assert texts == [choice.text for choice in alone.choices]
        assert texts[0] != texts[1]
        usage += alone.usage.prompt_tokens if alone.usage else 0
    assert answer.usage is not None and answer.usage.prompt_tokens == usage
    texts = [""] * 6
    stream = client.completions.create(stream=True, **settings | {"prompt": prompts, "n": 2})
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in answer.choices]


def test_echo(client: OpenAI) -> None:
    """The prompt stands before the answer, also one of tokens."""
    text = client.completions.create(**SETTINGS).choices[0].text
    echoed = client.completions.create(echo=True, **SETTINGS).choices[0].text
    assert echoed == SETTINGS["prompt"] + text
    chunks = client.completions.create(echo=True, stream=True, **SETTINGS)
    assert "".join(chunk.choices[0].text for chunk in chunks) == echoed


def test_logprobs(client: OpenAI) -> None:
    """Lists side by side; the drawn token is among the likeliest of a greedy answer."""
    choice = client.completions.create(logprobs=3, **SETTINGS).choices[0]
    told = choice.logprobs
    assert told is not None and told.tokens and told.token_logprobs and told.top_logprobs
    assert told.text_offset is not None and told.text_offset[0] == 0
    for token, logprob, others in zip(
        told.tokens, told.token_logprobs, told.top_logprobs, strict=True
    ):
        assert logprob == max(others.values()) == others[token]


@pytest.mark.parametrize("max_tokens", [0, 1, 5])
def test_how_likely_a_prompt_is(client: OpenAI, max_tokens: int) -> None:
    """As evaluations ask: echo with logprobs, whole and streamed. The offsets point into the text,
    and of the first token nothing is said."""
    settings = SETTINGS | {"echo": True, "logprobs": 2, "max_tokens": max_tokens}
    choice = client.completions.create(**settings).choices[0]
    told = choice.logprobs
    assert told is not None and told.tokens and told.token_logprobs and told.text_offset
    assert "".join(told.tokens) == choice.text and choice.text.startswith(SETTINGS["prompt"])
    assert told.token_logprobs[0] is None and None not in told.token_logprobs[1:]
    for token, offset in zip(told.tokens, told.text_offset, strict=True):
        assert choice.text[offset : offset + len(token)] == token
    pieces = [
        chunk.choices[0].logprobs
        for chunk in client.completions.create(stream=True, **settings)
        if chunk.choices[0].logprobs
    ]
    for name in ("tokens", "token_logprobs", "text_offset"):
        joined = [item for piece in pieces for item in getattr(piece, name)]
        assert joined == getattr(told, name)


def test_nothing_but_the_prompt(client: OpenAI) -> None:
    settings = SETTINGS | {"echo": True, "max_tokens": 0}
    answer = client.completions.create(**settings)
    assert answer.choices[0].text == SETTINGS["prompt"]
    assert answer.usage is not None and answer.usage.completion_tokens == 0


def test_a_schema_holds_here_too(client: OpenAI) -> None:
    answer = client.completions.create(**SETTINGS, extra_body={"guided_choice": ["yes", "no"]})
    assert answer.choices[0].text in ("yes", "no")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "x"}, "suffix"), ({"best_of": 3}, "best_of"), ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"), ({"prompt": [10**6]}, "prompt"),
        ({"prompt": ["a"] * 65}, "prompt"), ({"prompt": ""}, "prompt"), ({"n": 17}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"), ({"stop": ["a"] * 5}, "stop"),
        ({"prompt": "word " * 20_000}, "prompt"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_is_refused(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**SETTINGS | fields)
    assert caught.value.param == param


def test_best_of_as_many_as_are_told(client: OpenAI) -> None:
    answer = client.completions.create(**SETTINGS | {"n": 2, "best_of": 2, "temperature": 1})
    assert len(answer.choices) == 2
