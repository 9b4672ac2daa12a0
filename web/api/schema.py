"""What a chat request may say: shapes and ranges, and the refusal of what cannot be honoured.

The rule is "refuse, never ignore": a known parameter passes at its neutral value, those on the
accept-and-ignore list change nothing about the answer, and unknown vendor fields pass.
"""

import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from registry.checkpoint.config import Json
from runtime.requests import GenerationRequest, SamplingRequest
from web import duration
from web.errors import ApiError

from .messages import Message, conversation, turn_of

MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Count = Annotated[int, Meta(ge=1, le=2**53)]


class StreamOptions(msgspec.Struct):
    """`include_obfuscation` is accepted: there is no network to hide lengths from."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(msgspec.Struct):
    """POST /chat/completions. Fields that are not listed are ignored."""

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
    # What `_NEUTRAL` lists the only values of.
    n: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    modalities: list[str] | None = None
    audio: Any = None
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

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


# Known parameters that cannot be honoured yet, with the values at which they ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "reasoning_effort": ("none",),
    "modalities": (["text"],),
    "audio": (),
}


def generation_request(body: ChatBody) -> GenerationRequest:
    """The request as the runtime takes it. Raises ApiError that names what cannot be honoured."""
    for name, neutral in _NEUTRAL.items():
        value = getattr(body, name)
        if value is not None and value not in neutral:
            raise ApiError(
                400,
                f"'{name}' cannot be honoured by this server yet, and is never silently ignored. "
                "Leave it out" + (f", or send {_json(neutral[0])}." if neutral else "."),
                param=name,
                code="unsupported_parameter",
            )
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "'stream_options' goes with 'stream': true.", param="stream_options")
    return GenerationRequest(
        messages=conversation(body.messages),
        sampling=SamplingRequest(
            temperature=body.temperature,
            top_p=body.top_p,
            max_tokens=body.max_completion_tokens or body.max_tokens,
            stop=_stop(body.stop),
            seed=body.seed,
        ),
        template_options=_template_options(body),
        turn=turn_of(body.messages, body.continue_final_message, body.add_generation_prompt),
        keep_alive_s=keep_alive_s(body.keep_alive),
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


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
