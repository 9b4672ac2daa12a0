"""What a chat request may say: shapes and ranges, and the refusal of what cannot be honoured.

The rule is "refuse, never ignore": of the parameters that cannot be honoured yet (`parameters`)
only neutral values pass. What changes nothing about the answer, and what nobody documents, passes.
"""

import math
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta
from werkzeug.datastructures import Headers

from registry.checkpoint.config import Json
from runtime.requests import ChatInput, GenerationRequest, Priority, SamplingRequest
from web import duration
from web.door.body import Neutral, RequestBody
from web.errors import ApiError

from . import parameters
from .messages import Message, conversation, turn_of

MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Count = Annotated[int, Meta(ge=1, le=2**53)]
_PRIORITY = "X-Priority"


class StreamOptions(msgspec.Struct):
    """`include_obfuscation` is accepted: there is no network to hide lengths from."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(RequestBody):
    """POST /chat/completions. Fields that are neither listed nor unhonoured are ignored."""

    unhonoured: ClassVar[Neutral] = parameters.CHAT

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    # Accepted: they change nothing about the answer.
    parallel_tool_calls: bool | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None = None
    store: bool | None = None
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    # Ours and the vendors'.
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    keep_alive: float | str | None = None
    priority: Priority | None = None
    max_ttft_ms: Annotated[float, Meta(gt=0)] | None = None

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


def generation_request(body: ChatBody) -> GenerationRequest:
    """The request as the runtime takes it. Raises ApiError that names what cannot be honoured."""
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "'stream_options' goes with 'stream': true.", param="stream_options")
    return GenerationRequest(
        input=ChatInput(
            conversation(body.messages),
            _template_options(body),
            turn_of(body.messages, body.continue_final_message, body.add_generation_prompt),
        ),
        sampling=SamplingRequest(
            temperature=body.temperature,
            top_p=body.top_p,
            max_tokens=body.max_completion_tokens or body.max_tokens,
            stop=_stop(body.stop),
            seed=body.seed,
        ),
        keep_alive_s=keep_alive_s(body.keep_alive),
        priority=body.priority or "interactive",
        max_ttft_s=None if body.max_ttft_ms is None else body.max_ttft_ms / 1000,
    )


def priority_of(field: Priority | None, headers: Headers) -> Priority | None:
    """The request's own; else that of X-Priority, for clients that cannot send fields."""
    if field is not None or (header := headers.get(_PRIORITY)) is None:
        return field
    try:
        priority: Priority = msgspec.convert(header, type=Priority)
        return priority
    except msgspec.ValidationError:
        raise ApiError(
            400, f"{_PRIORITY} is {header[:100]!r}; it may be 'interactive' or 'background'.",
            param=_PRIORITY,
        ) from None  # fmt: skip


def keep_alive_s(value: float | str | None) -> float | None:
    """Seconds, "5m" or "2h"; a negative number is for ever. None stays None."""
    if value is None:
        return None
    if not isinstance(value, str):
        return math.inf if value < 0 else float(value)
    try:
        return duration.seconds(value)
    except ValueError as error:
        raise ApiError(400, f"'keep_alive': {error}.", param="keep_alive") from None


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if any(not 0 < len(sequence) <= 1024 for sequence in sequences):
        raise ApiError(400, "Each stop sequence has 1 to 1024 characters.", param="stop")
    return sequences


def _template_options(body: ChatBody) -> dict[str, Json]:
    """Only the one option that models agree on: the others are not the caller's to set."""
    thinking: Json = body.enable_thinking
    for name, value in (body.chat_template_kwargs or {}).items():
        if name != "enable_thinking" or not isinstance(value, bool):
            raise ApiError(
                400,
                f"'chat_template_kwargs' may hold a boolean 'enable_thinking', not {name!r}.",
                param="chat_template_kwargs",
            )
        thinking = value
    return {} if thinking is None else {"enable_thinking": thinking}
