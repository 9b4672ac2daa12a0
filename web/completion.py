"""One chat answer on the wire: as a whole, or as the chunks of a stream."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from runtime.protocol import (
    Event,
    Finished,
    Json,
    Loading,
    Prefill,
    TextDelta,
)

from .dialect import Dialect

_encode = msgspec.json.Encoder().encode

_STATUS_INTERVAL_S = 0.1  # between two progress chunks of the same stage


@dataclass(slots=True)
class Completion:
    """Renders the events of one generation. Does no I/O."""

    dialect: Dialect
    model_id: str
    fingerprint: Callable[[], str | None]
    includes_usage: bool = False  # asked for with stream_options
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
        head = self._object("chat.completion.chunk")
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":[{"index":0,"delta":'
        self._tail = b',"usage":null}\n\n' if self._sends_null_usage else b"}\n\n"

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
            "usage": self._usage(finished),
        }

    def first_chunk(self) -> bytes:
        """The role, before anything is known."""
        content = b"" if self.dialect.has_integer_codes else b',"content":""'
        return self._chunk(b'{"role":"assistant"' + content + b"}")

    def chunk(self, event: Event) -> bytes:
        """What an event adds to the stream; nothing for many."""
        match event:
            case TextDelta(_, text):
                self.note_token()
                return self._chunk(b'{"content":' + _encode(text) + b"}")
            case Finished():
                return self._last_chunks(event)
            case Loading():
                return self._status("loading_model", "Loading model", event.fraction)
            case Prefill():
                return self._status(
                    "processing_prompt", "Processing prompt", event.done / event.total
                )
        return b""

    def note_token(self) -> None:
        """Call at the first text, for the time to first token."""
        if self._first_token_at is None:
            self._first_token_at = time.monotonic()

    def _chunk(self, delta: bytes) -> bytes:
        return self._head + delta + b',"finish_reason":null}]' + self._tail

    def _last_chunks(self, finished: Finished) -> bytes:
        reason = _encode(finished.reason)
        usage = _encode(self._usage(finished))
        end = self._head + b'{},"finish_reason":' + reason + b"}]"
        if self.dialect.always_sends_usage:
            return end + b',"usage":' + usage + b"}\n\n"
        last = end + self._tail
        if self.includes_usage:
            head = _encode(self._object("chat.completion.chunk"))[:-1]
            last += b"data: " + head + b',"choices":[],"usage":' + usage + b"}\n\n"
        return last

    def _status(self, stage: str, words: str, fraction: float) -> bytes:
        """A progress chunk of the mimOE dialect, at most ten a second."""
        now = time.monotonic()
        is_new = stage != self._status_stage or fraction >= 1
        if not self.dialect.reports_status:
            return b""
        if not is_new and now - self._status_at < _STATUS_INTERVAL_S:
            return b""
        self._status_at, self._status_stage = now, stage
        status = {
            "stage": stage,
            "progress": round(fraction, 4),
            "message": f"{words} ({fraction:.0%})",
        }
        return (
            self._head + b'{},"finish_reason":null}],"mimoe_status":' + _encode(status) + self._tail
        )

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

    def _usage(self, finished: Finished) -> dict[str, Json]:
        usage, timings = finished.usage, finished.timings
        value: dict[str, Json] = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        }
        if self.dialect.always_sends_usage:
            busy_s = timings.prefill_s + timings.decode_s
            first = (self._first_token_at or time.monotonic()) - self._started
            value |= {
                "token_per_second": _rate(usage.completion_tokens, busy_s),
                "decode_token_per_second": _rate(usage.completion_tokens - 1, timings.decode_s),
                "ttft_ms": round(first * 1000),
            }
        return value


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 2) if count > 0 and seconds > 0 else 0.0
