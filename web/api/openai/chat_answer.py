"""A chat's answers on the wire: as a whole, or as the chunks of a stream."""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence

from registry.checkpoint.config import Json
from runtime.events import (
    Event,
    Finished,
    Loading,
    Prefill,
    ReasoningDelta,
    Restarted,
    Score,
    TextDelta,
    ToolCallDelta,
)
from web.api.answer import Answer, Call, rate
from web.api.answering import Rendering
from web.dialect import MIMOE, OPENAI, Dialect
from web.errors import Failure
from web.transport.encoding import encode
from web.transport.frame import Frame
from web.transport.sse import DONE

from .logprobs import logprobs_of
from .usage import usage_of_prompts

_STATUS_INTERVAL_S = 0.1  # between two progress chunks of the same stage


class ChatAnswer(Rendering):
    """As OpenAI has it. Two fields are of other servers: `reasoning_content`, and for an answer
    that was ended because it repeats itself, `finish_details`."""

    dialect: Dialect = OPENAI
    done = DONE

    def __init__(
        self,
        model_id: str,
        fingerprint: Callable[[], str | None] = lambda: None,
        *,
        num_answers: int = 1,
        has_logprobs: bool = False,
        includes_usage: bool = False,
        shows_reasoning: bool = True,
    ) -> None:
        """`includes_usage`: asked for with stream_options."""
        super().__init__(num_answers)
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.model_id = model_id
        self.created = int(time.time())
        self.has_logprobs = has_logprobs
        self.includes_usage = includes_usage
        self.shows_reasoning = shows_reasoning
        self._fingerprint = fingerprint
        # All chunks begin alike: that is encoded once, and per token only the text.
        self._start = encode(self._object("chat.completion.chunk"))[:-1]
        heads = (b',"choices":[{"index":%d,"delta":' % number for number in range(num_answers))
        self._heads = [self._start + head for head in heads]
        self._tail = b',"usage":null}' if includes_usage else b"}"

    # --- whole ----------------------------------------------------------------------------------

    def whole(self) -> dict[str, Json]:
        choices: list[Json] = []
        for index, answer in enumerate(self.answers):
            choice: dict[str, Json] = {"index": index, "message": self._message(answer)}
            if self.has_logprobs:
                choice["logprobs"] = logprobs_of(answer.scores)
            choices.append(choice | _ending(answer))
        return self._object("chat.completion") | {"choices": choices} | self._usage()

    def _message(self, answer: Answer) -> dict[str, Json]:
        text = "".join(answer.text)
        message: dict[str, Json] = {"role": "assistant"}
        message["content"] = None if answer.calls and not text else text
        message |= self._refusal()
        if answer.reasoning and self.shows_reasoning:
            message["reasoning_content"] = "".join(answer.reasoning)
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        return message

    def _refusal(self) -> dict[str, Json]:
        return {"refusal": None}

    # --- stream ---------------------------------------------------------------------------------

    def begin(self, num_prompt_tokens: int) -> Iterable[Frame]:
        return [self._chunk(number, self._first_delta()) for number in range(len(self.answers))]

    def _first_delta(self) -> bytes:
        return b'{"role":"assistant","content":""}'

    def frames(self, number: int, event: Event) -> Iterable[Frame]:
        if isinstance(event, TextDelta):  # nearly always
            content = b'{"content":' + encode(event.text) + b"}"
            return (self._chunk(number, content, event.scores),)
        match event:
            case ReasoningDelta(_, text):
                if self.shows_reasoning:
                    return [self._chunk(number, b'{"reasoning_content":' + encode(text) + b"}")]
            case ToolCallDelta(_, index, _, arguments):
                call = self.answers[number].calls[index]
                delta = encode({"tool_calls": [_call_delta(index, call, arguments)]})
                return [self._chunk(number, delta)]
            case Finished():
                return [self._last(number)]
            case Loading() | Prefill() | Restarted():
                return self._status(number, event)
        return []

    def end(self) -> Iterable[Frame]:
        if not self.includes_usage:
            return []
        usage = encode(self._usage())[1:]
        return [Frame(self._start + b',"choices":[],' + usage)]

    def failed(self, failure: Failure) -> Frame:
        return Frame(encode(failure.body(self.dialect)), "error")

    def _chunk(self, number: int, delta: bytes, scores: Sequence[Score] = ()) -> Frame:
        logprobs = b',"logprobs":' + encode(logprobs_of(scores)) if scores else b""
        end = b',"finish_reason":null}]'
        return Frame(self._heads[number] + delta + logprobs + end + self._tail)

    def _last(self, number: int) -> Frame:
        ending = encode(_ending(self.answers[number]))[1:-1]
        return Frame(self._heads[number] + b"{}," + ending + b"}]" + self._tail)

    def _status(self, number: int, event: Loading | Prefill | Restarted) -> Iterable[Frame]:
        """What happens meanwhile, where the wire has words for it."""
        return []

    def ending(self) -> dict[str, Json]:
        """What a socket's last frame says of answers that are whole."""
        timings = self.answers[0].timings()
        told: dict[str, Json] = {"cancelled": False, "timings": timings}
        told |= self._usage()
        return _ending(self.answers[0]) | told

    # --- both -----------------------------------------------------------------------------------

    def _usage(self) -> dict[str, Json]:
        timings: list[Json] = [answer.timings() for answer in self.answers]
        return {
            "usage": usage_of_prompts([self.answers]),
            "timings": timings[0] if len(timings) == 1 else timings,
        }

    def _object(self, kind: str) -> dict[str, Json]:
        value: dict[str, Json] = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model_id,
        }
        if fingerprint := self._fingerprint():
            value["system_fingerprint"] = fingerprint
        return value


class MimoeChatAnswer(ChatAnswer):
    """As mimOE has it: progress as `mimoe_status`, and usage with speeds on the last chunk."""

    dialect = MIMOE
    _status_at = 0.0
    _status_stage = ""

    def _refusal(self) -> dict[str, Json]:
        return {}

    def _first_delta(self) -> bytes:
        return b'{"role":"assistant"}'

    def _last(self, number: int) -> Frame:
        last = super()._last(number)
        if not self.is_whole:
            return last
        return Frame(last.body[:-1] + b"," + encode(self._usage())[1:])

    def end(self) -> Iterable[Frame]:
        return []

    def _status(self, number: int, event: Loading | Prefill | Restarted) -> Iterable[Frame]:
        """At most ten chunks a second of one stage."""
        fraction: float | None = None  # where there is nothing to measure
        match event:
            case Loading():
                stage, words, fraction = "loading_model", "Loading model", event.fraction
            case Prefill(_, done, total):
                stage, words, fraction = "processing_prompt", "Processing prompt", done / total
            case Restarted():
                stage, words = "restarted", "The engine died; a new one goes on"
        now = time.monotonic()
        is_new = stage != self._status_stage or fraction is None or fraction >= 1
        if not is_new and now - self._status_at < _STATUS_INTERVAL_S:
            return []
        self._status_at, self._status_stage = now, stage
        status = {
            "stage": stage,
            "progress": round(fraction or 0.0, 4),
            "message": words if fraction is None else f"{words} ({fraction:.0%})",
        }
        chunk = b'{},"finish_reason":null}],"mimoe_status":' + encode(status)
        return [Frame(self._heads[number] + chunk + self._tail)]

    def _usage(self) -> dict[str, Json]:
        first = self.answers[0]
        assert first.finished is not None
        timings, completion = first.finished.timings, first.usage.completion_tokens
        speeds: dict[str, Json] = {
            "token_per_second": rate(completion, timings.prefill_s + timings.decode_s),
            "decode_token_per_second": rate(completion - 1, timings.decode_s),
            "ttft_ms": round(first.first_token_s * 1000),
        }
        return {"usage": usage_of_prompts([self.answers]) | speeds}

    def _object(self, kind: str) -> dict[str, Json]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model_id,
        }


def _ending(answer: Answer) -> dict[str, Json]:
    assert answer.finished is not None
    ending: dict[str, Json] = {"finish_reason": answer.finished.reason}
    if answer.finished.is_repetition:
        ending["finish_details"] = {"type": "repetition"}
    return ending


def _call(call: Call) -> dict[str, Json]:
    function: dict[str, Json] = {"name": call.name, "arguments": "".join(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _call_delta(index: int, call: Call, arguments: str) -> dict[str, Json]:
    """Id and name come with the first piece only."""
    if len(call.arguments) > 1:
        return {"index": index, "function": {"arguments": arguments}}
    function: dict[str, Json] = {"name": call.name, "arguments": arguments}
    return {"index": index, "id": call.id, "type": "function", "function": function}
