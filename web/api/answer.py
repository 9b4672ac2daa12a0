"""What has come of one answer so far: its events, folded. Does no I/O."""

import secrets
import time
from dataclasses import dataclass, field

import msgspec

from registry.checkpoint.config import Json
from runtime.events import (
    Delta,
    Event,
    Finished,
    Prefill,
    ReasoningDelta,
    Score,
    TextDelta,
    ToolCallDelta,
    Usage,
)


@dataclass(slots=True)
class Call:
    """A call of a function, as far as it has come."""

    id: str
    name: str
    arguments: list[str]  # pieces of one JSON text


@dataclass(slots=True)
class Answer:
    """Filled by `add`, event by event."""

    call_prefix: str = "call_"  # of the ids of calls
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)  # of the text
    usage: Usage = Usage(0, 0)  # as far as it has come
    finished: Finished | None = None
    started_at: float = field(default_factory=time.monotonic)
    first_token_at: float | None = None

    def add(self, event: Event) -> None:
        """An event more."""
        match event:
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                self._add_delta(event)
            case Prefill(_, done, _, cached) if not self.usage.completion_tokens:
                self.usage = Usage(done, 0, cached)
            case Finished():
                self.finished = event
                self.usage = event.usage

    def _add_delta(self, delta: Delta) -> None:
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()
        num_tokens = self.usage.completion_tokens + len(delta.tokens)
        self.usage = msgspec.structs.replace(self.usage, completion_tokens=num_tokens)
        match delta:
            case TextDelta(_, text):
                self.text.append(text)
                self.scores += delta.scores
            case ReasoningDelta(_, text):
                self.reasoning.append(text)
            case ToolCallDelta(_, index, name, arguments):
                while len(self.calls) <= index:
                    self.calls.append(Call(f"{self.call_prefix}{secrets.token_hex(12)}", name, []))
                self.calls[index].arguments.append(arguments)

    @property
    def first_token_s(self) -> float:
        """From the request to the first text; up to now if there is none."""
        return (self.first_token_at or time.monotonic()) - self.started_at

    def timings(self) -> dict[str, Json]:
        """Where its time went, and how fast it was; of an answer that is finished."""
        assert self.finished is not None
        timings = self.finished.timings
        return {
            "queued_ms": round(timings.queued_s * 1000),
            "prefill_ms": round(timings.prefill_s * 1000),
            "decode_ms": round(timings.decode_s * 1000),
            "ttft_ms": round(self.first_token_s * 1000),
            "decode_tokens_per_second": rate(self.usage.completion_tokens - 1, timings.decode_s),
        }


def rate(count: int, seconds: float) -> float:
    """A speed to show; 0 where nothing can be said."""
    return round(count / seconds, 2) if count > 0 and seconds > 0 else 0.0
