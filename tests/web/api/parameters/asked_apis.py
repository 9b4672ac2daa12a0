"""The four APIs that generate text, asked alike: `ask` sends fields and reads the answer."""

import json
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from tests.serving import KEY

TEXT_DELTA = "response.output_text.delta"


@dataclass(frozen=True)
class Reply:
    """One answer, whatever the API."""

    body: dict[str, Any]
    text: str
    reason: str | None
    num_prompt_tokens: int
    num_tokens: int
    num_thought: int = 0
    thoughts: str = ""
    calls: tuple[tuple[str, Any], ...] = ()  # names and arguments

    def content(self) -> tuple[Any, ...]:
        """What may not depend on a parameter that is ignored."""
        calls = tuple(str(call) for call in self.calls)
        counts = (self.num_prompt_tokens, self.num_tokens, self.num_thought)
        return (self.text, self.reason, self.thoughts, calls, *counts)


class Api:
    """Asks `tiny` to go on with `hello`, greedily, if nothing else is said."""

    path: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {"Authorization": f"Bearer {KEY}"}
    said: ClassVar[dict[str, Any]]  # by its least body
    ending: ClassVar[dict[str, str]]  # its words for how answers end
    num_tokens: ClassVar[int] = 12  # of an answer, if nothing is said
    lengths: ClassVar[tuple[str, ...]] = ("max_tokens",)  # the field for it, and its other names

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def post(self, **fields: Any) -> httpx.Response:
        return self.client.send(self.request(**fields))

    def request(self, **fields: Any) -> httpx.Request:
        body = {"model": "tiny", "temperature": 0} | self.said | fields
        if fields.keys().isdisjoint(self.lengths):
            body[self.lengths[0]] = self.num_tokens
        content = json.dumps({name: value for name, value in body.items() if value is not ...})
        headers = self.headers | {"Content-Type": "application/json"}
        return self.client.build_request("POST", self.path, content=content, headers=headers)

    def ask(self, **fields: Any) -> Reply:
        """`...` leaves out what is sent otherwise."""
        response = self.post(**fields)
        assert response.status_code == 200, (fields, response.text)
        return self.read(response.json())

    def refused(self, **fields: Any) -> None:
        """Asserts that it is a 400 that names the last of these fields."""
        response = self.post(**fields)
        assert response.status_code == 400, (fields, response.text)
        self.named(response.json()["error"], list(fields)[-1])

    def named(self, error: dict[str, Any], name: str) -> None:
        """Asserts that an error is about this field."""
        assert name in error["message"], error

    def read(self, body: dict[str, Any]) -> Reply:
        raise NotImplementedError

    def question(self, words: str) -> dict[str, Any]:
        """The field that holds what is asked."""
        return {"messages": [{"role": "user", "content": words}]}

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """The data of a stream's events."""
        return self.events_in(self.post(**fields, stream=True))

    def events_in(self, response: httpx.Response) -> list[dict[str, Any]]:
        assert response.headers["content-type"].startswith("text/event-stream"), response.text
        lines = [line for line in response.text.splitlines() if line.startswith("data: ")]
        return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]

    def streamed(self, **fields: Any) -> str:
        """The text of a stream."""
        raise NotImplementedError


class Chats(Api):
    path = "/v1/chat/completions"
    said: ClassVar[dict[str, Any]] = {"messages": [{"role": "user", "content": "hello"}]}
    ending: ClassVar[dict[str, str]] = {
        "stop": "stop",
        "sequence": "stop",
        "length": "length",
        "call": "tool_calls",
    }

    def named(self, error: dict[str, Any], name: str) -> None:
        assert error["param"] == name, error

    def read(self, body: dict[str, Any]) -> Reply:
        choice, usage = body["choices"][0], body["usage"]
        message = choice["message"]
        calls = [call["function"] for call in message.get("tool_calls", ())]
        return Reply(
            body,
            message["content"] or "",
            choice["finish_reason"],
            usage["prompt_tokens"],
            usage["completion_tokens"],
            usage["completion_tokens_details"]["reasoning_tokens"],
            message.get("reasoning_content", ""),
            tuple((call["name"], json.loads(call["arguments"])) for call in calls),
        )

    def streamed(self, **fields: Any) -> str:
        choices = (choice for event in self.events(**fields) for choice in event["choices"])
        return "".join(choice["delta"].get("content") or "" for choice in choices)


class Completions(Chats):
    path = "/v1/completions"
    said: ClassVar[dict[str, Any]] = {"prompt": "hello"}

    def read(self, body: dict[str, Any]) -> Reply:
        choice, usage = body["choices"][0], body["usage"]
        counts = usage["prompt_tokens"], usage["completion_tokens"]
        return Reply(body, choice["text"], choice["finish_reason"], *counts)

    def question(self, words: str) -> dict[str, Any]:
        return {"prompt": words}

    def streamed(self, **fields: Any) -> str:
        choices = (choice for event in self.events(**fields) for choice in event["choices"])
        return "".join(choice["text"] for choice in choices)


class Messages(Api):
    path = "/v1/messages"
    headers: ClassVar[dict[str, str]] = {"x-api-key": KEY}
    said: ClassVar[dict[str, Any]] = {"messages": [{"role": "user", "content": "hello"}]}
    ending: ClassVar[dict[str, str]] = {
        "stop": "end_turn",
        "sequence": "stop_sequence",
        "length": "max_tokens",
        "call": "tool_use",
    }

    def read(self, body: dict[str, Any]) -> Reply:
        blocks, usage = body["content"], body["usage"]
        return Reply(
            body,
            "".join(block.get("text", "") for block in blocks),
            body["stop_reason"],
            usage["input_tokens"] + usage["cache_read_input_tokens"],
            usage["output_tokens"],
            usage["output_tokens_details"]["thinking_tokens"],
            "".join(block.get("thinking", "") for block in blocks),
            tuple((block["name"], block["input"]) for block in blocks if "input" in block),
        )

    def streamed(self, **fields: Any) -> str:
        deltas = (event.get("delta", {}) for event in self.events(**fields))
        return "".join(delta.get("text", "") for delta in deltas)


class Responses(Api):
    path = "/v1/responses"
    said: ClassVar[dict[str, Any]] = {"input": "hello"}
    ending: ClassVar[dict[str, str]] = {
        "stop": "completed",
        "sequence": "completed",
        "length": "max_output_tokens",
        "call": "completed",
    }
    num_tokens = 16  # no fewer may be asked for
    lengths = ("max_output_tokens", "max_tokens", "max_completion_tokens", "max_new_tokens")

    def named(self, error: dict[str, Any], name: str) -> None:
        assert error["param"] == name, error

    def read(self, body: dict[str, Any]) -> Reply:
        items, usage = body["output"], body["usage"]
        return Reply(
            body,
            _text_of(items, "message"),
            (body["incomplete_details"] or {}).get("reason", body["status"]),
            usage["input_tokens"],
            usage["output_tokens"],
            usage["output_tokens_details"]["reasoning_tokens"],
            _text_of(items, "reasoning"),
            tuple(_call(item) for item in items if "call_id" in item),
        )

    def question(self, words: str) -> dict[str, Any]:
        return {"input": words}

    def streamed(self, **fields: Any) -> str:
        return self.text_of(self.events(**fields))

    def text_of(self, events: list[dict[str, Any]]) -> str:
        return "".join(event["delta"] for event in events if event["type"] == TEXT_DELTA)

    def events_until(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """Those of a stream that is left at the first one of this name."""
        events: list[dict[str, Any]] = []
        response = self.client.send(self.request(**fields, stream=True), stream=True)
        with closing(response):
            for line in response.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line[6:]))
                    if events[-1]["type"] == name:
                        return events
        raise AssertionError(f"no {name} came: {events}")

    def get(self, response_id: str, **query: Any) -> httpx.Response:
        """A response, asked for again."""
        return self.client.get(f"{self.path}/{response_id}", params=query, headers=self.headers)


def _text_of(items: list[dict[str, Any]], kind: str) -> str:
    return "".join(part["text"] for item in items if item["type"] == kind
                   for part in item["content"])  # fmt: skip


def _call(item: dict[str, Any]) -> tuple[str, Any]:
    said = item["input"] if "input" in item else json.loads(item["arguments"])
    return item["name"], said
