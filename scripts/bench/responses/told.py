"""One answer as its events come, of either API over either way."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec

# The last is a response that is stored, the one before it one that is not.
Api: TypeAlias = Literal["chat", "unstored", "stored"]

PATHS: dict[Api, str] = {
    "chat": "/chat/completions",
    "unstored": "/responses",
    "stored": "/responses",
}

# Looked for in place of reading JSON: a client that reads all of it is slower than the server.
_CHAT_TEXT, _TEXT = b'"delta":{"content":', b'"response.output_text.delta"'
_ITEM, _USAGE, _ERROR = b'"response.output_item.done"', b'"usage":{', b'"error":{'


def body_of(api: Api, model: str, prompt: str, max_tokens: int) -> dict[str, Any]:
    """A request for a stream, the same of all APIs."""
    body: dict[str, Any] = {"model": model, "stream": True, "temperature": 0, "top_p": 1}
    if api == "chat":
        body["messages"] = [{"role": "user", "content": prompt}]
        body["stream_options"] = {"include_usage": True}
        return body | {"max_tokens": max_tokens}
    return body | {"input": prompt, "max_output_tokens": max_tokens, "store": api == "stored"}


@dataclass(slots=True)
class Told:
    """When what came; 0 for what did not."""

    asked_at: float = field(default_factory=time.perf_counter)
    first_event_at: float = 0.0
    first_text_at: float = 0.0
    item_at: float = 0.0  # of a response: its last item is whole
    ended_at: float = 0.0
    num_events: int = 0
    num_bytes: int = 0
    first: bytes = b""
    last: bytes = b""

    def note(self, event: bytes) -> None:
        """One more event, or message. Raises RuntimeError with the server's words."""
        now = time.perf_counter()
        self.num_events += 1
        self.num_bytes += len(event)
        if self.num_events == 1:
            self.first_event_at, self.first = now, event
        if _TEXT in event or _CHAT_TEXT in event:
            self.first_text_at = self.first_text_at or now
        elif _ITEM in event:
            self.item_at = now
        elif _USAGE in event:
            self.ended_at, self.last = now, event
        elif _ERROR in event:
            raise RuntimeError(f"the server told {event[:300]!r}")

    @property
    def first_event_s(self) -> float:
        return self.first_event_at - self.asked_at

    @property
    def first_text_s(self) -> float:
        return self.first_text_at - self.asked_at

    @property
    def own_s(self) -> float:
        """Of a response, what the model has no part in: up to its first event, and from its last
        item to its end."""
        return self.first_event_s + self.ended_at - self.item_at

    @property
    def whole_s(self) -> float:
        return self.ended_at - self.asked_at

    @property
    def num_tokens(self) -> int:
        """Of the answer, as the last event counts them."""
        told = _json(self.last)
        usage = told.get("usage") or told["response"]["usage"]
        num_tokens: int = usage.get("completion_tokens") or usage["output_tokens"]
        return num_tokens

    @property
    def response(self) -> dict[str, Any]:
        """As the last event has it."""
        response: dict[str, Any] = _json(self.last)["response"]
        return response

    @property
    def resume_token(self) -> str:
        token: str = _json(self.first)["resume_token"]
        return token


def _json(event: bytes) -> dict[str, Any]:
    """The object in an event, or in a message."""
    told: dict[str, Any] = msgspec.json.decode(event[event.index(b"{") :])
    return told
