"""What a chat request may say: shapes and ranges, and the refusal of what cannot be honoured.

The rule is "refuse, never ignore": of the parameters that cannot be honoured (`parameters`) only
neutral values pass. What changes nothing about the answer, and what nobody documents, passes.
`docs/parameters.md` lists them all.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta
from werkzeug.datastructures import Headers

from runtime.requests import ChatInput, GenerationRequest
from web.api import parameters
from web.api.functions import MAX_TOOLS
from web.api.generating import Count, NumAlternatives, NumTokens
from web.api.thinking import Effort
from web.door.body import Neutral, Synonyms
from web.errors import ApiError

from .chat_messages import Message, conversation, turn_of
from .constraint import ConstrainedBody, constraint_of
from .reasoning import Reasoning, ReasoningObject, ThinkingObject, reasoning_of
from .tools import ToolDefinition, tool_use_of

MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]


class StreamOptions(msgspec.Struct):
    """`include_obfuscation` is accepted: there is no network to hide lengths from."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(ConstrainedBody, kw_only=True):
    """POST /chat/completions. Fields that are neither listed nor unhonoured are ignored."""

    unhonoured: ClassVar[Neutral] = parameters.CHAT
    synonyms: ClassVar[Synonyms] = parameters.SYNONYMS

    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096)]
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: NumAlternatives | None = None
    tools: Annotated[list[ToolDefinition], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningObject | None = None
    thinking: ThinkingObject | None = None
    enable_thinking: bool | None = None
    thinking_budget: NumTokens | None = None
    thinking_token_budget: NumTokens | None = None
    include_reasoning: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    resumable: bool | None = None  # of a socket
    # Accepted: they change nothing about the answer.
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None = None
    store: bool | None = None
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def asked_reasoning(self) -> Reasoning:
        return reasoning_of(
            self.reasoning_effort,
            self.reasoning,
            self.thinking,
            self.enable_thinking,
            (self.thinking_budget, self.thinking_token_budget),
            self.chat_template_kwargs,
            self.include_reasoning,
        )


def generation_request(body: ChatBody, headers: Headers) -> GenerationRequest:
    """The request as the runtime takes it. Raises ApiError that names what cannot be honoured."""
    check_stream_options(body.stream_options, body.stream)
    if body.top_logprobs and not body.logprobs:
        raise ApiError(400, "'top_logprobs' goes with 'logprobs': true.", param="top_logprobs")
    reasoning = body.asked_reasoning
    return body.request(
        ChatInput(
            conversation(body.messages),
            reasoning.options,
            turn_of(body.messages, body.continue_final_message, body.add_generation_prompt),
            tool_use_of(body.tools, body.tool_choice, body.parallel_tool_calls),
        ),
        headers,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        constraint=constraint_of(body),
        max_reasoning_tokens=reasoning.max_tokens,
    )


def check_stream_options(options: StreamOptions | None, streams: bool | None) -> None:
    """Raises ApiError for options of a stream that is none."""
    if options is not None and not streams:
        raise ApiError(400, "'stream_options' goes with 'stream': true.", param="stream_options")
