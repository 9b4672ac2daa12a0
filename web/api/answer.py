"""What has come of one answer so far: its events, folded. Does no I/O."""

import secrets
import time
from dataclasses import dataclass, field

from registry.checkpoint.config import Json
from runtime.events import (
    Event,
    Finished,
    Prefill,
    PromptScores,
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
    prompt_scores: PromptScores | None = None
    finished: Finished | None = None
    started_at: float = field(default_factory=time.monotonic)
    first_token_at: float | None = None
    _num_tokens: int = 0  # so far
    _prompt: Prefill | None = None

    def add(self, event: Event) -> None:
        """An event more."""
        if isinstance(event, TextDelta):  # nearly always
            self.text.append(event.text)
            self.scores += event.scores
        elif isinstance(event, ReasoningDelta):
            self.reasoning.append(event.text)
        elif isinstance(event, ToolCallDelta):
            while len(self.calls) <= event.index:
                call_id = f"{self.call_prefix}{secrets.token_hex(12)}"
                self.calls.append(Call(call_id, event.name, []))
            self.calls[event.index].arguments.append(event.arguments)
        else:
            if isinstance(event, Prefill) and not self._num_tokens:  # later ones read both again
                self._prompt = event
            elif isinstance(event, PromptScores):
                self.prompt_scores = event
            elif isinstance(event, Finished):
                self.finished = event
            return
        self._num_tokens += len(event.tokens)
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()

    @property
    def usage(self) -> Usage:
        """Tokens, as far as it has come."""
        if self.finished is not None:
            return self.finished.usage
        prompt = self._prompt
        num_read, num_cached = (prompt.done, prompt.cached) if prompt is not None else (0, 0)
        return Usage(num_read, self._num_tokens, num_cached)

    @property
    def first_token_s(self) -> float:
        """From the request to the first text; up to now if there is none."""
        return (self.first_token_at or time.monotonic()) - self.started_at

    def timings(self) -> dict[str, Json]:
        """Where its time went, and how fast it was; of an answer that is finished."""
        assert self.finished is not None
        timings = self.finished.timings
        predicted_s = timings.predicted_first_s
        return {
            "queued_ms": round(timings.queued_s * 1000),
            "prefill_ms": round(timings.prefill_s * 1000),
            "decode_ms": round(timings.decode_s * 1000),
            "ttft_ms": round(self.first_token_s * 1000),
            "predicted_ttft_ms": None if predicted_s is None else round(predicted_s * 1000),
            "decode_tokens_per_second": rate(self.usage.completion_tokens - 1, timings.decode_s),
            "predicted_bytes": timings.predicted_bytes,
            "measured_bytes": timings.measured_bytes,
        }


def rate(count: int, seconds: float) -> float:
    """A speed to show; 0 where nothing can be said."""
    return round(count / seconds, 2) if count > 0 and seconds > 0 else 0.0
