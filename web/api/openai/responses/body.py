"""What a Responses request may say: shapes, ranges, and the refusal of what cannot be honoured."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta
from werkzeug.datastructures import Headers

from registry.checkpoint.config import Json
from runtime.requests import ChatInput, ChatMessage, Constraint, GenerationRequest, Turn
from web.api.functions import MAX_TOOLS
from web.api.generating import GeneratingBody, NumAlternatives, NumTokens
from web.api.openai.chat_body import MetadataKey, MetadataValue, StreamOptions, check_stream_options
from web.api.openai.reasoning import Reasoning, ReasoningObject, reasoning_of
from web.door.body import Neutral, Synonyms
from web.errors import ApiError

from . import parameters
from .inclusion import LOGPROBS, SEALED_REASONING, check_includable
from .items import Item
from .tools import ToolDefinition, Tools

Text = Annotated[str, Meta(max_length=16 << 20)]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
Verbosity = Literal["low", "medium", "high"]

MIN_OUTPUT_TOKENS = 16  # as OpenAI has it


class ResponseReasoning(ReasoningObject):
    """What of it a template decides, or needs more than one answer, is only what it is anyway."""

    context: Literal["auto"] | None = None  # which thoughts of earlier turns are read again
    mode: Literal["standard"] | None = None
    generate_summary: str | None = None  # the older name of `summary`


class CacheOptions(msgspec.Struct):
    """Of a service's cache; what would be told or left out of the answer is not honoured."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: str | None = None
    prewarm: Literal[False] | None = None
    comparison_response_id: None = None


class TextFormat(msgspec.Struct):
    """What the text has to be; as flat as this API has it."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct):
    format: TextFormat | None = None
    verbosity: Verbosity | None = None


class CountBody(GeneratingBody, kw_only=True):
    """POST /responses/input_tokens: what makes the prompt."""

    unhonoured: ClassVar[Neutral] = parameters.RESPONSES
    synonyms: ClassVar[Synonyms] = parameters.SYNONYMS

    input: Text | Annotated[list[Item], Meta(max_length=16_384)] | None = None
    instructions: Text | None = None
    previous_response_id: Id | None = None
    conversation: Json = None
    tools: Annotated[list[ToolDefinition], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ResponseReasoning | None = None
    text: TextConfig | None = None
    truncation: Literal["auto", "disabled"] | None = None
    enable_thinking: bool | None = None
    thinking_budget: NumTokens | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def check(self) -> None:
        """Raises ApiError for what contradicts itself, or is not kept here."""
        if self.conversation is not None:
            if self.previous_response_id is not None:
                raise ApiError(
                    400, "Send one of 'conversation' and 'previous_response_id'.",
                    param="conversation", code="mutually_exclusive_parameters",
                )  # fmt: skip
            raise ApiError(
                400, "No conversations are kept here; go on with 'previous_response_id'.",
                param="conversation", code="unsupported_parameter",
            )  # fmt: skip
        if self.n not in (None, 1):
            raise ApiError(400, "'n' may be 1: a response is one answer.", param="n")

    @property
    def asked_reasoning(self) -> Reasoning:
        return reasoning_of(
            None,
            self.reasoning,
            None,
            self.enable_thinking,
            (self.thinking_budget,),
            self.chat_template_kwargs,
            None,
        )

    def asked_tools(self) -> Tools:
        return Tools(self.tools, self.tool_choice, self.parallel_tool_calls)

    @property
    def wanted_tokens(self) -> int | None:
        """Of the answer."""
        return None

    def chat(self, turns: tuple[ChatMessage, ...], tools: Tools) -> ChatInput:
        """The conversation as the runtime takes it."""
        options, turn = self.asked_reasoning.options, self._turn(turns)
        return ChatInput(turns, options, turn, tools.use, param="input")

    def _turn(self, turns: tuple[ChatMessage, ...]) -> Turn:
        """An assistant's last words are gone on with."""
        last = turns[-1] if turns else None
        if last is None or last.role != "assistant" or last.tool_calls or not last.content:
            return "new"
        return "continued"


class ResponseBody(CountBody, kw_only=True):
    """POST /responses. Fields that are neither listed nor unhonoured are ignored."""

    max_output_tokens: int | None = None
    max_tool_calls: NumTokens | None = None  # of tools that OpenAI runs: there is none
    store: bool | None = None
    background: bool | None = None
    resumable: bool | None = None
    generate: bool | None = None  # of a socket: false only reads the prompt
    stream_options: StreamOptions | None = None
    top_logprobs: NumAlternatives | None = None
    include: list[str] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None = None
    # Accepted: they change nothing about the answer.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptions | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None

    def check(self) -> None:
        super().check()
        least, sent = MIN_OUTPUT_TOKENS, self.max_output_tokens
        if sent is not None and not least <= sent <= 2**53:
            raise ApiError(
                400, f"'max_output_tokens' is {sent}; it may be {least} or more.",
                param="max_output_tokens", code="integer_below_min_value",
            )  # fmt: skip
        check_stream_options(self.stream_options, self.stream)
        check_includable(self.include or ())
        if self.input is None and self.previous_response_id is None and self.generate is not False:
            raise ApiError(400, "Send 'input'.", param="input", code="missing_required_parameter")

    @property
    def wanted_tokens(self) -> int | None:
        return self.max_output_tokens

    def _turn(self, turns: tuple[ChatMessage, ...]) -> Turn:
        return "none" if self.generate is False else super()._turn(turns)

    @property
    def included(self) -> set[str]:
        """What else is told, by its name in `include`."""
        names = set(self.include or ())
        return names | {LOGPROBS} if self.top_logprobs else names

    @property
    def has_logprobs(self) -> bool:
        return LOGPROBS in self.included

    @property
    def seals_reasoning(self) -> bool:
        return SEALED_REASONING in self.included

    def generation(self, input: ChatInput, headers: Headers) -> GenerationRequest:
        """The request as the runtime takes it. Raises ApiError that names what is wrong."""
        if self.background and self.priority is None:
            self.priority = "background"
        return self.request(
            input,
            headers,
            max_tokens=0 if self.generate is False else self.max_output_tokens,
            logprobs=(self.top_logprobs or 0) if self.has_logprobs else None,
            constraint=self._constraint(),
            max_reasoning_tokens=self.asked_reasoning.max_tokens,
        )

    def _constraint(self) -> Constraint | None:
        form = self.text.format if self.text is not None else None
        if form is None or form.type == "text":
            return None
        if form.schema is not None:  # of an object too, as llama.cpp and Together have it
            return Constraint("json_schema", form.schema, "text")
        if form.type == "json_object":
            return Constraint("json_object", None, "text")
        raise ApiError(400, "'text' has no 'schema' in its 'format'.", param="text")
