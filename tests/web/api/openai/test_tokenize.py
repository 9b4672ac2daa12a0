"""Tests of tokenize and detokenize, in the words of vLLM and of llama.cpp."""

from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.serving import KEY, ServerProcess

HEADERS = {"Authorization": f"Bearer {KEY}"}
TEXT = "Grüße from the quick fox"


def post(server: ServerProcess, path: str, **body: Any) -> httpx.Response:
    return httpx.post(server.url + path, json={"model": "tiny"} | body, headers=HEADERS)


@pytest.mark.parametrize("base", ["", "/v1"])
def test_there_and_back(server: ServerProcess, base: str) -> None:
    told = post(server, f"{base}/tokenize", prompt=TEXT).json()
    assert told["count"] == len(told["tokens"]) and told["max_model_len"] == 8192
    back = post(server, f"{base}/detokenize", tokens=told["tokens"]).json()
    assert back["prompt"] == back["content"] == TEXT


def test_the_words_of_tokens(server: ServerProcess) -> None:
    told = post(server, "/tokenize", prompt=TEXT, return_token_strs=True).json()
    assert len(told["token_strs"]) == told["count"]
    pieces = post(server, "/tokenize", content=TEXT, with_pieces=True).json()["tokens"]
    assert [piece["id"] for piece in pieces] == told["tokens"]
    assert [piece["piece"] for piece in pieces] == told["token_strs"]


def test_a_conversation_is_read_as_a_chat(server: ServerProcess) -> None:
    messages: list[Any] = [{"role": "user", "content": "Hello you"}]
    told = post(server, "/tokenize", messages=messages).json()
    with OpenAI(base_url=server.url + "/v1", api_key=KEY) as client:
        answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=1)
    assert answer.usage is not None and answer.usage.prompt_tokens == told["count"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "content": "b"}, "prompt"),
        ("/tokenize", {"prompt": 5}, "prompt"),
        ("/detokenize", {"tokens": [10**6]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/detokenize", {}, "tokens"),
    ],
)
def test_what_is_refused(server: ServerProcess, path: str, body: Any, param: str) -> None:
    reply = post(server, path, **body)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == param
