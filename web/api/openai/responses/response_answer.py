"""A response on the wire: as a whole, or as the events of a stream, numbered from 0.

Items are opened and closed in order: what is thought, what is said, each call.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from registry.checkpoint.config import Json
from runtime.events import Event, Finished, ReasoningDelta, Score, TextDelta, ToolCallDelta
from web.api.answer import Answer
from web.api.openai.logprobs import logprobs_of
from web.errors import Failure
from web.transport.encoding import encode
from web.transport.frame import Frame, Frames

from .custom_input import CustomInput
from .items import new_id
from .response_object import ResponseObject
from .sealed_text import sealed
from .tools import Callee

_Kind: TypeAlias = Literal["reasoning", "message", "call"]
_MESSAGE: tuple[_Kind, int] = "message", 0


class ResponseAnswer:
    """The answer as it becomes the output of `response`. Does no I/O."""

    def __init__(
        self,
        response: ResponseObject,
        *,
        callees: Mapping[str, Callee] | None = None,
        shows_reasoning: bool = True,
        seals_reasoning: bool = False,
        is_generated: bool = True,
    ) -> None:
        """`callees` are the tools, by the names that the model calls. What is not generated is a
        prompt that is only read."""
        self.response = response
        self.answer = Answer()
        self.num_events = 0
        self._is_generated = is_generated
        self._callees = callees or {}
        self._shows_reasoning = shows_reasoning
        self._seals_reasoning = seals_reasoning
        self._token: dict[str, Json] = {}
        self._open: tuple[_Kind, int] | None = None  # the kind and the number of its call
        self._item: dict[str, Any] = {}
        self._input = CustomInput()
        self._scores: list[Score] = []
        self._num_read = {"reasoning": 0, "message": 0}  # pieces of the answer in closed items
        self._delta = ("", b"", b"")  # of the open item: its name, and what stands around a number

    # --- the stream -----------------------------------------------------------------------------

    def begin(self) -> Iterable[Frame]:
        """The first frames, before anything is drawn."""
        yield self._frame("response.created", response=self.response.told(), **self._token)
        yield self.progress()

    def progress(self, **told: Json) -> Frame:
        """How it stands. As a sign of life it is an event, for some clients' clocks do not hear
        comments."""
        name = "response.queued" if self.response.status == "queued" else "response.in_progress"
        fields = {"progress": told} if told else {}
        return self._frame(name, response=self.response.told(), **fields)

    def frames(self, event: Event) -> Frames:
        """What an event adds, except for the last frame."""
        self.answer.add(event)
        if isinstance(event, TextDelta) and self._open == _MESSAGE:  # nearly always
            return (self._text(event),)
        return list(self._added(event))

    def _added(self, event: Event) -> Iterable[Frame]:
        match event:
            case TextDelta():
                yield from self._opened("message", 0)
                yield self._text(event)
            case ReasoningDelta(_, text):
                if self._shows_reasoning:
                    yield from self._opened("reasoning", 0)
                    yield self._piece(text)
            case ToolCallDelta(_, index, _, arguments):
                yield from self._opened("call", index)
                if self._item["type"] == "custom_tool_call":
                    arguments = self._input.add(arguments)
                if arguments:
                    yield self._piece(arguments)
            case Finished(_, reason):
                if self._is_generated and self._open is None and not self.response.output:
                    yield from self._opened("message", 0)  # clients look for one
                yield from self._closed("incomplete" if reason == "length" else "completed")

    def settle(self) -> None:
        """The answer is whole: what is told of it does not change any more."""
        finished = self.answer.finished
        is_cut = False
        if finished is not None:  # else the prompt said nothing
            self.response.timings = self.answer.timings()
            is_cut = finished.reason == "length" and self._is_generated
        self.response.reason = "max_output_tokens" if is_cut else None
        self.response.end("incomplete" if is_cut else "completed", self.answer.usage)

    def cancel(self) -> Iterable[Frame]:
        """It was cancelled; what had come stays. `last` is still to come."""
        yield from self._closed("incomplete")
        self.response.end("cancelled", self.answer.usage)

    def fail(self, failure: Failure) -> Iterable[Frame]:
        """It broke; what had come stays. `last` is still to come."""
        yield from self._closed("incomplete")
        code = {400: "invalid_prompt", 429: "rate_limit_exceeded"}.get(failure.status)
        self.response.error = {"code": code or "server_error", "message": failure.message}
        self.response.end("failed", self.answer.usage)

    def last(self) -> Frame:
        """The last frame of a response that is over; made again, it has the same number."""
        # There is no event for cancelled ones; this one ends loops that wait for an end.
        status = self.response.status
        name = f"response.{'incomplete' if status == 'cancelled' else status}"
        body = {"type": name, "sequence_number": self.num_events, "response": self.response.told()}
        return Frame(encode(body), name)

    def name_token(self, resume_token: str) -> None:
        """The first event is to tell it."""
        self._token = {"resume_token": resume_token}

    # --- items ----------------------------------------------------------------------------------

    def _opened(self, kind: _Kind, call: int) -> Iterable[Frame]:
        """The item that a delta belongs to, if it is not open yet."""
        if self._open == (kind, call):
            return
        yield from self._closed("completed")
        self._open = kind, call
        self._item = self._new_item(kind, call)
        yield self._frame("response.output_item.added", output_index=self._index, item=self._item)
        name, fields = self._delta_of(kind)
        if kind != "call":
            part = _part(kind, "")
            yield self._of_item("response.content_part.added", content_index=0, part=part)
        # Per token only the number and the text are encoded.
        where = {"item_id": self._item["id"], "output_index": self._index} | fields
        head = encode({"type": name})[:-1] + b',"sequence_number":'
        self._delta = name, head, b"," + encode(where)[1:-1] + b',"delta":'

    def _new_item(self, kind: _Kind, call: int) -> dict[str, Any]:
        match kind:
            case "reasoning":
                item = {"id": new_id("reasoning"), "type": "reasoning", "summary": []}
                if self._seals_reasoning:
                    item["encrypted_content"] = ""
                return item | {"content": [], "status": "in_progress"}
            case "message":
                item = {"id": new_id("message"), "type": "message", "role": "assistant"}
                return item | {"content": [], "status": "in_progress"}
        told = self.answer.calls[call]
        callee = self._callees.get(told.name, Callee(told.name))
        item_type = "custom_tool_call" if callee.is_custom else "function_call"
        self._input = CustomInput()
        return {
            "id": new_id(item_type),
            "type": item_type,
            "call_id": told.id,
            "name": callee.name,
            "input" if callee.is_custom else "arguments": "",
            "status": "in_progress",
        } | ({} if callee.namespace is None else {"namespace": callee.namespace})

    def _delta_of(self, kind: _Kind) -> tuple[str, dict[str, Json]]:
        match kind:
            case "reasoning":
                return "response.reasoning_text.delta", {"content_index": 0}
            case "message":
                return "response.output_text.delta", {"content_index": 0}
        if self._item["type"] == "custom_tool_call":
            return "response.custom_tool_call_input.delta", {}
        return "response.function_call_arguments.delta", {}

    def _text(self, event: TextDelta) -> Frame:
        self._scores += event.scores
        return self._piece(event.text, event.scores)

    def _piece(self, text: str, scores: list[Score] | None = None) -> Frame:
        name, head, where = self._delta
        logprobs = b""
        if self._open is not None and self._open[0] == "message":
            logprobs = b',"logprobs":' + (encode(_logprobs(scores)) if scores else b"[]")
        body = head + b"%d" % self.num_events + where + encode(text) + logprobs + b"}"
        self.num_events += 1
        return Frame(body, name)

    def _closed(self, status: str) -> Iterable[Frame]:
        if self._open is None:
            return
        (kind, call), self._open = self._open, None
        if kind == "call":
            yield from self._call_over(call)
        else:
            yield from self._text_over(kind)
        self._item["status"] = status
        yield self._frame("response.output_item.done", output_index=self._index, item=self._item)
        self.response.output.append(self._item)

    def _text_over(self, kind: Literal["reasoning", "message"]) -> Iterable[Frame]:
        pieces = self.answer.text if kind == "message" else self.answer.reasoning
        text = "".join(pieces[self._num_read[kind] :])
        self._num_read[kind] = len(pieces)
        part = _part(kind, text)
        if kind == "message":
            part["logprobs"] = _logprobs(self._scores)
            self._scores = []
            yield self._of_item(
                "response.output_text.done", content_index=0, text=text, logprobs=part["logprobs"]
            )
        else:
            yield self._of_item("response.reasoning_text.done", content_index=0, text=text)
            if self._seals_reasoning:
                self._item["encrypted_content"] = sealed(text)
        yield self._of_item("response.content_part.done", content_index=0, part=part)
        self._item["content"] = [part]

    def _call_over(self, number: int) -> Iterable[Frame]:
        call = self.answer.calls[number]
        arguments = "".join(call.arguments)
        if self._item["type"] == "custom_tool_call":
            self._item["input"] = self._input.whole(arguments)
            name = "response.custom_tool_call_input.done"
            yield self._of_item(name, input=self._item["input"])
            return
        self._item["arguments"] = arguments
        name = "response.function_call_arguments.done"
        yield self._of_item(name, name=self._item["name"], arguments=arguments)

    # --- frames ---------------------------------------------------------------------------------

    @property
    def _index(self) -> int:
        """Of the open item."""
        return len(self.response.output)

    def _of_item(self, event: str, /, **fields: Any) -> Frame:
        item_id: str = self._item["id"]
        return self._frame(event, item_id=item_id, output_index=self._index, **fields)

    def _frame(self, event: str, /, **fields: Any) -> Frame:
        body = {"type": event, "sequence_number": self.num_events} | fields
        self.num_events += 1
        return Frame(encode(body), event)


def _part(kind: Literal["reasoning", "message"], text: str) -> dict[str, Json]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _logprobs(scores: list[Score]) -> list[Json]:
    told = logprobs_of(scores)["content"]
    assert isinstance(told, list)
    return told
