"""A message on the wire: as a whole, or as the events of a stream.

The blocks of a message are opened and closed in order: what is thought, what is said, each call.
(docs.anthropic.com, "Streaming Messages")
"""

import secrets
from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from registry.checkpoint.config import Json
from runtime.events import Event, Finished, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from web.api.answer import Call
from web.api.answering import Rendering
from web.dialect import ANTHROPIC
from web.errors import Failure
from web.transport.encoding import encode
from web.transport.frame import Frame

_Kind: TypeAlias = Literal["thinking", "text", "tool_use"]
_SIGNATURE = "unsigned"  # clients want one and send it back; nothing here looks at it
_PING = Frame(encode({"type": "ping"}), "ping")


class MessageAnswer(Rendering):
    """The one answer."""

    def __init__(self, model_id: str, *, shows_thinking: bool, has_edits: bool = False) -> None:
        """`has_edits`: the client asked for edits of its context, and is told that none was."""
        super().__init__(call_prefix="toolu_")
        self._answer = self.answers[0]
        self._id = f"msg_{secrets.token_hex(12)}"
        self._model_id = model_id
        self._shows_thinking = shows_thinking
        self._edits: dict[str, Json] = (
            {"context_management": {"applied_edits": []}} if has_edits else {}
        )
        self._open: tuple[_Kind, int] | None = None  # the kind and the number of its call
        self._num_blocks = 0

    # --- whole ----------------------------------------------------------------------------------

    def whole(self) -> dict[str, Json]:
        content: list[Json] = []
        answer = self._answer
        if answer.reasoning and self._shows_thinking:
            thinking = "".join(answer.reasoning)
            content.append({"type": "thinking", "thinking": thinking, "signature": _SIGNATURE})
        if answer.text:
            content.append({"type": "text", "text": "".join(answer.text)})
        for call in answer.calls:
            told: dict[str, Json] = {"type": "tool_use", "id": call.id, "name": call.name}
            content.append(told | {"input": _input(call)})
        message = self._message(content, _usage(answer.usage)) | self._ending() | self._edits
        return message | {"timings": answer.timings()}

    # --- stream ---------------------------------------------------------------------------------

    def begin(self, num_prompt_tokens: int) -> Iterable[Frame]:
        message = self._message([], _usage(Usage(num_prompt_tokens, 0)))
        message |= {"stop_reason": None, "stop_sequence": None}
        return [_frame("message_start", message=message), _PING]

    def frames(self, number: int, event: Event) -> Iterable[Frame]:
        match event:
            case TextDelta(_, text):
                yield from self._opened("text", 0)
                yield self._delta({"type": "text_delta", "text": text})
            case ReasoningDelta(_, text):
                if self._shows_thinking:
                    yield from self._opened("thinking", 0)
                    yield self._delta({"type": "thinking_delta", "thinking": text})
            case ToolCallDelta(_, index, _, arguments):
                yield from self._opened("tool_use", index)
                if arguments:
                    yield self._delta({"type": "input_json_delta", "partial_json": arguments})
            case Finished():
                yield from self._closed()

    def end(self) -> Iterable[Frame]:
        told = {"usage": _usage(self._answer.usage), "timings": self._answer.timings()}
        yield _frame("message_delta", delta=self._ending(), **told, **self._edits)
        yield _frame("message_stop")

    def failed(self, failure: Failure) -> Frame:
        return Frame(encode(failure.body(ANTHROPIC)), "error")

    def _opened(self, kind: _Kind, call: int) -> Iterable[Frame]:
        """The block that a delta belongs to, if it is not open yet."""
        if self._open == (kind, call):
            return
        yield from self._closed()
        self._open = kind, call
        yield _frame("content_block_start", index=self._num_blocks, content_block=self._block())

    def _block(self) -> Json:
        assert self._open is not None
        kind, number = self._open
        match kind:
            case "text":
                return {"type": "text", "text": ""}
            case "thinking":
                return {"type": "thinking", "thinking": "", "signature": ""}
            case "tool_use":
                call = self._answer.calls[number]
                return {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}

    def _closed(self) -> Iterable[Frame]:
        if self._open is None:
            return
        if self._open[0] == "thinking":
            yield self._delta({"type": "signature_delta", "signature": _SIGNATURE})
        yield _frame("content_block_stop", index=self._num_blocks)
        self._open = None
        self._num_blocks += 1

    def _delta(self, delta: dict[str, Json]) -> Frame:
        return _frame("content_block_delta", index=self._num_blocks, delta=delta)

    # --- both -----------------------------------------------------------------------------------

    def _message(self, content: list[Json], usage: Json) -> dict[str, Json]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model_id,
            "content": content,
            "usage": usage,
        }

    def _ending(self) -> dict[str, Json]:
        finished = self._answer.finished
        assert finished is not None
        reason = "end_turn"
        if finished.stop_sequence is not None:
            reason = "stop_sequence"
        elif finished.reason != "stop":
            reason = {"length": "max_tokens", "tool_calls": "tool_use"}[finished.reason]
        return {"stop_reason": reason, "stop_sequence": finished.stop_sequence}


def _frame(name: str, **fields: Json) -> Frame:
    return Frame(encode({"type": name} | fields), name)


def _usage(usage: Usage) -> dict[str, Json]:
    """What was in the cache is counted apart, as the API does."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def _input(call: Call) -> Json:
    """The arguments as an object; text that is none, of a model that was free, is told as it is."""
    text = "".join(call.arguments)
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = None
    return value if isinstance(value, dict) else {"arguments": text}
