"""One chat answer on the wire: as a whole, or as the chunks of a stream.

The chunks are the same on both ways out; `Envelope` is what each way puts around them.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.checkpoint.config import Json
from runtime.events import Event, Finished, Loading, Prefill, Restarted, TextDelta, Usage
from web.dialect import Dialect
from web.transport.encoding import encode

_STATUS_INTERVAL_S = 0.1  # between two progress chunks of the same stage


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands before and after the fields of a chunk."""

    head: bytes
    tail: bytes
    restarted: bytes = b""  # tells of an engine's death where the dialect has no word for it


SSE = Envelope(b"data: {", b"}\n\n", b": restarted\n\n")


@dataclass(slots=True)
class Completion:
    """Renders the events of one generation. Does no I/O."""

    dialect: Dialect
    model_id: str
    fingerprint: Callable[[], str | None]
    includes_usage: bool = False  # asked for with stream_options
    envelope: Envelope = SSE
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    _started: float = field(default_factory=time.monotonic)
    _first_token_at: float | None = None
    _status_at: float = 0.0
    _status_stage: str = ""
    _head: bytes = b""
    _tail: bytes = b""

    def __post_init__(self) -> None:
        # All chunks begin alike: encode that once, and per token only the text.
        self._head = self._start + b',"choices":[{"index":0,"delta":'
        self._tail = (b',"usage":null' if self._sends_null_usage else b"") + self.envelope.tail

    @property
    def _start(self) -> bytes:
        return self.envelope.head + encode(self._object("chat.completion.chunk"))[1:-1]

    @property
    def _sends_null_usage(self) -> bool:
        return self.includes_usage and not self.dialect.always_sends_usage

    def whole(self, text: str, finished: Finished) -> dict[str, Json]:
        """The answer to a request that does not stream."""
        message: dict[str, Json] = {"role": "assistant", "content": text}
        if not self.dialect.has_integer_codes:
            message["refusal"] = None
        return self._object("chat.completion") | {
            "choices": [{"index": 0, "message": message, "finish_reason": finished.reason}],
            "usage": self.usage(finished),
        }

    def first_chunk(self) -> bytes:
        """The role, before anything is known."""
        content = b"" if self.dialect.has_integer_codes else b',"content":""'
        return self._chunk(b'{"role":"assistant"' + content + b"}")

    def chunks(self, event: Event) -> tuple[bytes, ...]:
        """What an event adds to the stream; nothing for many."""
        match event:
            case TextDelta(_, text):
                self.note_token()
                return (self._chunk(b'{"content":' + encode(text) + b"}"),)
            case Finished():
                return self._last_chunks(event)
            case Loading():
                return self._status("loading_model", "Loading model", event.fraction)
            case Prefill():
                return self._status(
                    "processing_prompt", "Processing prompt", event.done / event.total
                )
            case Restarted():
                if not self.dialect.reports_status:
                    return (self.envelope.restarted,) if self.envelope.restarted else ()
                return self._status("restarted", "The engine died; a new one goes on", None)
        return ()

    def note_token(self) -> None:
        """Call at the first text, for the time to first token."""
        if self._first_token_at is None:
            self._first_token_at = time.monotonic()

    @property
    def first_token_s(self) -> float:
        """From the request to the first text; up to now if there is none."""
        return (self._first_token_at or time.monotonic()) - self._started

    def _chunk(self, delta: bytes) -> bytes:
        return self._head + delta + b',"finish_reason":null}]' + self._tail

    def _last_chunks(self, finished: Finished) -> tuple[bytes, ...]:
        reason = encode(finished.reason)
        usage = encode(self.usage(finished))
        end = self._head + b'{},"finish_reason":' + reason + b"}]"
        if self.dialect.always_sends_usage:
            return (end + b',"usage":' + usage + self.envelope.tail,)
        last = end + self._tail
        if not self.includes_usage:
            return (last,)
        return last, self._start + b',"choices":[],"usage":' + usage + self.envelope.tail

    def _status(self, stage: str, words: str, fraction: float | None) -> tuple[bytes, ...]:
        """A progress chunk of the mimOE dialect, at most ten a second; None: nothing to measure."""
        now = time.monotonic()
        is_new = stage != self._status_stage or fraction is None or fraction >= 1
        if not self.dialect.reports_status:
            return ()
        if not is_new and now - self._status_at < _STATUS_INTERVAL_S:
            return ()
        self._status_at, self._status_stage = now, stage
        status = {
            "stage": stage,
            "progress": round(fraction or 0.0, 4),
            "message": words if fraction is None else f"{words} ({fraction:.0%})",
        }
        chunk = b'{},"finish_reason":null}],"mimoe_status":' + encode(status)
        return (self._head + chunk + self._tail,)

    def _object(self, kind: str) -> dict[str, Json]:
        value: dict[str, Json] = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model_id,
        }
        if not self.dialect.has_integer_codes and (fingerprint := self.fingerprint()):
            value["system_fingerprint"] = fingerprint
        return value

    def usage(self, finished: Finished) -> dict[str, Json]:
        """The tokens; in the mimOE dialect their speed too."""
        usage, timings = finished.usage, finished.timings
        value = usage_of(usage)
        if self.dialect.always_sends_usage:
            busy_s = timings.prefill_s + timings.decode_s
            value |= {
                "token_per_second": rate(usage.completion_tokens, busy_s),
                "decode_token_per_second": rate(usage.completion_tokens - 1, timings.decode_s),
                "ttft_ms": round(self.first_token_s * 1000),
            }
        return value


def usage_of(usage: Usage) -> dict[str, Json]:
    """Tokens as both dialects count them."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def rate(count: int, seconds: float) -> float:
    """A speed to show; 0 where nothing can be said."""
    return round(count / seconds, 2) if count > 0 and seconds > 0 else 0.0
