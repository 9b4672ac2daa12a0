"""Tests of the whole server with a real model: it answers sense, and knows when to end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from transformers import AutoTokenizer

from registry.store.store import Store
from tests.models import smollm2
from tests.serving import KEY, ServerProcess
from tests.sockets import opened

pytestmark = pytest.mark.slow

MESSAGES: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the capital of France?"},
]


@pytest.fixture(scope="module")
def server(smollm2_home: Path) -> Iterator[ServerProcess]:
    with ServerProcess(smollm2_home) as process:
        yield process


async def test_a_chat(server: ServerProcess) -> None:
    """Over HTTP and over the socket: Paris, no marker, an end of its own, tokens well counted."""
    folder = Store(server.home).get(smollm2.MODEL_ID).folder
    with OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.create(
            model=smollm2.MODEL_ID, messages=MESSAGES, max_tokens=40, temperature=0
        )
    (choice,) = answer.choices
    assert choice.message.content is not None and choice.finish_reason == "stop"
    assert "Paris" in choice.message.content and "<|" not in choice.message.content
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert answer.usage is not None and answer.usage.prompt_tokens == len(ids)
    own = tokenizer(choice.message.content, add_special_tokens=False)["input_ids"]
    assert answer.usage.completion_tokens == len(own) + 1  # and the token that ends it
    async with opened(server) as socket:
        await socket.create(None, model=smollm2.MODEL_ID, messages=MESSAGES, max_tokens=40)
        answers = await socket.answers(1)
    assert answers[None].text == choice.message.content
    assert any(c["choices"][0]["finish_reason"] == "stop" for c in answers[None].chunks)
