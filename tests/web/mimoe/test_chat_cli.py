"""A chat program for mimOE, and what its six integration tests ask of a live server.

The program keeps a conversation, answers once or streamed, rolls a turn back that failed, and says
in a sentence what was wrong. Only what it does on the wire is written out here.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from openai import APIStatusError, OpenAI

from registry.hub.catalog import STARTER_ID
from tests.serving import KEY, ServerProcess

pytestmark = pytest.mark.slow

HEADERS = {"Authorization": f"Bearer {KEY}"}
CAPITAL = "What is the capital of France?"


@dataclass
class Chat:
    """A conversation at a terminal."""

    client: OpenAI
    model: str = STARTER_ID
    system: str = "Be brief."
    messages: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.messages.append({"role": "system", "content": self.system})

    def say(self, words: str, **settings: Any) -> str:
        """The whole answer; or what was wrong, in one line, and the turn is taken back."""
        self.messages.append({"role": "user", "content": words})
        try:
            answer = self._create(**settings)
        except APIStatusError as error:
            self.messages.pop()
            return f"error {error.status_code}: {error.message}"
        message = answer.choices[0].message
        self.messages.append(message)  # the SDK's own object, with all its empty fields
        return message.content or ""

    def stream(self, words: str, **settings: Any) -> Iterator[str]:
        """The pieces of the answer: `choices[0]` of every chunk, as programs read it."""
        self.messages.append({"role": "user", "content": words})
        said = ""
        for chunk in self._create(stream=True, **settings):
            piece = chunk.choices[0].delta.content or ""
            said += piece
            yield piece
        self.messages.append({"role": "assistant", "content": said})

    def _create(self, **settings: Any) -> Any:
        settings = {"max_tokens": 16, "temperature": 0} | settings
        return self.client.chat.completions.create(
            model=self.model, messages=self.messages, **settings
        )


@pytest.fixture
def chat(client: OpenAI) -> Chat:
    return Chat(client)


def unload(base: str) -> int:
    url = f"{base}/models?modelId={STARTER_ID}"
    return httpx.delete(url, headers=HEADERS, timeout=60).status_code


def test_the_server_is_there_and_lists_what_is_loaded(client: OpenAI, chat: Chat) -> None:
    """A model is in the list once it has answered."""
    assert chat.say("Hello.", max_tokens=2)
    (model,) = [model for model in client.models.list().data if model.id == STARTER_ID]
    assert model.object == "model" and model.owned_by == "local" and model.created > 0


def test_an_answer_comes_at_once_or_in_pieces(chat: Chat, client: OpenAI) -> None:
    """The same words both ways, and more than one piece."""
    whole = chat.say(CAPITAL)
    pieces = list(Chat(client).stream(CAPITAL))
    assert "".join(pieces) == whole and "Paris" in whole
    assert len([piece for piece in pieces if piece]) > 1


def test_a_conversation_goes_on(chat: Chat) -> None:
    """Three turns after a system prompt, each with all before it: the prompt grows."""
    for number, words in enumerate(("My name is Alex.", CAPITAL, "And of Italy?")):
        assert chat.say(words)
        assert len(chat.messages) == 3 + 2 * number
    used = chat._create(max_tokens=1).usage.prompt_tokens
    assert used > Chat(chat.client)._create(max_tokens=1).usage.prompt_tokens


def test_what_is_wrong_is_one_sentence_and_the_chat_goes_on(chat: Chat, base: str) -> None:
    """A wrong key, a model that is not there, a setting out of range: the turn is taken back."""
    with OpenAI(base_url=base, api_key="not-required", max_retries=0) as stranger:
        assert Chat(stranger).say("hi").startswith("error 401: ")
    elsewhere = Chat(chat.client, model="no-such-model")
    assert "error 404: " in (said := elsewhere.say("hi")) and "'no-such-model' not found" in said
    assert "error 400: " in (said := chat.say("hi", temperature=9)) and "temperature" in said
    assert len(chat.messages) == len(elsewhere.messages) == 1
    assert "Paris" in chat.say(CAPITAL)


def test_limits_of_an_answer(chat: Chat) -> None:
    """`max_tokens` and `stop`, as a word or a list, at once and streamed."""
    short = chat._create(max_tokens=3)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 3
    for stop in ("Paris", ["\n\n", "Paris"]):
        assert Chat(chat.client).say(CAPITAL, stop=stop) == "The capital of France is "
        streamed = "".join(Chat(chat.client).stream(CAPITAL, stop=stop))
        assert streamed == "The capital of France is "


def test_leaving_in_the_middle_frees_the_row(chat: Chat, server: ServerProcess) -> None:
    """As Ctrl-C does: the stream is closed after its first words, and the program asks again."""
    chat.messages.append({"role": "user", "content": "Tell me a long story."})
    story = chat._create(stream=True, max_tokens=2000)
    assert any(chunk.choices[0].delta.content for chunk in story)
    story.close()
    chat.messages.pop()
    server.wait_until_empty(60)
    assert chat.say("Hello.", max_tokens=2)


def test_a_model_that_is_not_loaded_loads_by_itself(base: str) -> None:
    """And the stream says how far it is, on chunks that a program which ignores it can read."""
    unload(base)
    assert unload(base) == 404
    body = {
        "model": STARTER_ID, "messages": [{"role": "user", "content": "Hello."}], "stream": True,
        "max_tokens": 2, "n": 1, "enable_thinking": False,
    }  # fmt: skip
    reply = httpx.post(f"{base}/chat/completions", json=body, headers=HEADERS, timeout=300)
    *events, done = reply.text.strip().split("\n\n")
    assert done == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    stages = [chunk["mimoe_status"]["stage"] for chunk in chunks if "mimoe_status" in chunk]
    assert stages[0] == "loading_model" and stages[-1] == "processing_prompt"
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert chunks[-1]["usage"]["token_per_second"] > 0
    assert unload(base) == 200


def test_load_and_unload_by_hand(base: str, client: OpenAI) -> None:
    """A load tells its progress and ends with the model; then it is listed, until the unload."""
    unload(base)
    asking = HEADERS | {"Accept": "text/event-stream"}
    loaded = httpx.post(f"{base}/models", json={"model": STARTER_ID}, headers=asking, timeout=300)
    *progress, last = [
        json.loads(line.removeprefix("data: ")) for line in loaded.text.splitlines() if line
    ]
    assert progress and all("<|loading_model|>" in step["progress"] for step in progress)
    assert last["id"] == STARTER_ID and last["loaded"] is True
    assert STARTER_ID in [model.id for model in client.models.list().data]
    gone = httpx.delete(f"{base}/models/{STARTER_ID}", headers=HEADERS, timeout=60)
    expected = {"id": STARTER_ID, "object": "model", "deleted": True}
    assert expected.items() <= gone.json().items()
    assert STARTER_ID not in [model.id for model in client.models.list().data]
