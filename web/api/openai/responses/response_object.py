"""The response as clients see it: every key is there, at whatever time it is told."""

import secrets
import time
from typing import Any, Literal, TypeAlias

import msgspec

from registry.checkpoint.config import Json
from registry.checkpoint.model import Model
from runtime.events import Usage
from web.transport.encoding import encode

from .body import ResponseBody
from .tools import Tools

Status: TypeAlias = Literal[
    "queued", "in_progress", "completed", "incomplete", "failed", "cancelled"
]


class ResponseObject:
    """What stays the same of it, and what comes of it."""

    def __init__(self, body: ResponseBody, model: Model, tools: Tools, *, stores: bool) -> None:
        self.id = f"resp_{secrets.token_hex(24)}"
        self.status: Status = "in_progress"
        self.error: dict[str, Json] | None = None
        self.reason: str | None = None  # why it is incomplete
        self.output: list[dict[str, Json]] = []
        self.usage: Usage | None = None
        self.timings: dict[str, Json] | None = None
        self.stores = stores
        self._created_at = int(time.time())
        self._completed_at: int | None = None
        # What may be long is encoded once for the three times that it is told.
        self._said = {
            name: msgspec.Raw(encode(value)) for name, value in _said(body, model, tools).items()
        }

    def end(self, status: Status, usage: Usage) -> None:
        """It is over; what it is made of does not change any more."""
        self.status, self.usage = status, usage
        if status == "completed":
            self._completed_at = int(time.time())

    @property
    def is_over(self) -> bool:
        return self.status not in ("queued", "in_progress")

    def told(self) -> dict[str, Any]:
        """As it is now."""
        told: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self._created_at,
            "status": self.status,
            "completed_at": self._completed_at,
            "error": self.error,
            "incomplete_details": None if self.reason is None else {"reason": self.reason},
            "output": self.output,
            "store": self.stores,
            "usage": None if self.usage is None else usage_of(self.usage),
        }
        if self.timings is not None:
            told["timings"] = self.timings
        return told | self._said


def _said(body: ResponseBody, model: Model, tools: Tools) -> dict[str, Json]:
    """What the request said, or what holds where it said nothing."""
    own = model.sampling.values()
    text, reasoning = body.text, body.reasoning
    plain: dict[str, Json] = {"type": "text"}
    thinking: dict[str, Json] = {
        "effort": None if reasoning is None else reasoning.effort,
        "summary": None if reasoning is None else reasoning.summary,
    }
    form = text.format if text is not None else None
    return {
        "background": bool(body.background),
        "conversation": None,
        "frequency_penalty": _first(body.frequency_penalty, own.get("frequency_penalty"), 0.0),
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "metadata": {**(body.metadata or {})},
        "model": model.id,
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "presence_penalty": _first(body.presence_penalty, own.get("presence_penalty"), 0.0),
        "previous_response_id": body.previous_response_id,
        "prompt_cache_key": body.prompt_cache_key,
        "prompt_cache_retention": body.prompt_cache_retention,
        "reasoning": thinking,
        "safety_identifier": body.safety_identifier,
        "service_tier": "default",
        "temperature": _first(body.temperature, own.get("temperature"), 1.0),
        "text": {
            "format": plain if form is None else _without_null(form),
            "verbosity": (text.verbosity if text is not None else None) or "medium",
        },
        "tool_choice": body.tool_choice or "auto",
        "tools": tools.told,
        "top_logprobs": body.top_logprobs or 0,
        "top_p": _first(body.top_p, own.get("top_p"), 1.0),
        "truncation": body.truncation or "disabled",
        "user": body.user,
    }


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _without_null(value: msgspec.Struct) -> dict[str, Json]:
    return {name: field for name, field in msgspec.structs.asdict(value).items()
            if field is not None}  # fmt: skip


def usage_of(usage: Usage) -> dict[str, Json]:
    """Tokens as the Responses API counts them."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
