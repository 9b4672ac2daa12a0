"""What a request for a message may say: shapes, ranges, and the refusal of what cannot be honoured.

What a request leaves out is the model's own. Parameters that OpenAI's chats have beside these
(`min_p`, `seed`, penalties, `keep_alive` ...) are honoured here too.
"""

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta
from werkzeug.datastructures import Headers

from registry.checkpoint.config import Json
from runtime.requests import ChatInput, Constraint, GenerationRequest, Tool, ToolUse
from web.api.functions import MAX_TOOLS, check_functions, parameters_of
from web.api.generating import GeneratingBody, NumTokens
from web.api.thinking import Effort, thinking_options
from web.door.body import Neutral, Synonyms
from web.errors import ApiError

from . import message_parameters
from .conversation import Block, Message, conversation, system_text

Text = Annotated[str, Meta(max_length=16 << 20)]


class Thinking(msgspec.Struct):
    """Whether the model thinks first, and for how many tokens at most."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(msgspec.Struct):
    """What the text has to be."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct):
    effort: Effort | None = None
    format: OutputFormat | None = None


class ToolDefinition(msgspec.Struct):
    """A function as clients send it; what else stands in it is for Anthropic's own service."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class CountBody(GeneratingBody, kw_only=True):
    """POST /messages/count_tokens. Fields that are neither listed nor unhonoured are ignored."""

    unhonoured: ClassVar[Neutral] = message_parameters.MESSAGES
    synonyms: ClassVar[Synonyms] = message_parameters.SYNONYMS

    messages: Annotated[list[Message], Meta(min_length=1, max_length=100_000)]
    system: Text | list[Block] | None = None
    tools: Annotated[list[ToolDefinition], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None  # its older place

    @property
    def shows_thinking(self) -> bool:
        thinking = self.thinking
        return (
            thinking is not None and thinking.type != "disabled" and thinking.display != "omitted"
        )

    def input(self) -> ChatInput:
        """What the model is to answer. Raises ApiError that names what is wrong."""
        messages, turn = conversation(self.messages)
        if system := system_text(self.system):
            messages = (system, *messages)
        wants = self.thinking is not None and self.thinking.type != "disabled"
        effort = self.output_config.effort if self.output_config is not None else None
        options = thinking_options(wants, effort if wants else None)
        return ChatInput(messages, options, turn, _tool_use(self.tools, self.tool_choice))


class MessagesBody(CountBody, kw_only=True):
    """POST /messages."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**53)]
    stop_sequences: Annotated[list[str], Meta(max_length=64)] | None = None
    context_management: dict[str, Json] | None = None  # nothing is cleared, and the answer says so
    # Accepted: they change nothing about the answer.
    metadata: dict[str, Json] | None = None


def generation_request(body: MessagesBody, headers: Headers) -> GenerationRequest:
    """The request as the runtime takes it. Raises ApiError that names what cannot be honoured."""
    thinking = body.thinking
    budget: NumTokens | None = None if thinking is None else thinking.budget_tokens
    return body.request(
        body.input(),
        headers,
        max_tokens=body.max_tokens,
        stop_sequences=body.stop_sequences,
        constraint=_constraint(body),
        max_reasoning_tokens=budget if thinking and thinking.type == "enabled" else None,
    )


def _constraint(body: MessagesBody) -> Constraint | None:
    asked = body.output_config.format if body.output_config is not None else None
    if asked is not None:
        return Constraint("json_schema", asked.schema, "output_config")
    if body.output_format is not None:
        return Constraint("json_schema", body.output_format.schema, "output_format")
    return None


_Choice: TypeAlias = Literal["none", "auto", "required"]
_CHOICES: dict[str, _Choice] = {"any": "required", "tool": "required", "none": "none"}


def _tool_use(tools: list[ToolDefinition] | None, choice: ToolChoice | None) -> ToolUse:
    functions = tuple(_function(number, tool) for number, tool in enumerate(tools or ()))
    check_functions(functions)
    if choice is None:
        return ToolUse(functions)
    if choice.type in ("any", "tool") and not functions:
        raise _wrong("asks for a call, but there are no tools")
    if choice.type == "tool" and all(choice.name != tool.name for tool in functions):
        raise _wrong(f"names {choice.name!r:.100}, which is none of the tools")
    return ToolUse(
        functions,
        _CHOICES.get(choice.type, "auto"),
        choice.name if choice.type == "tool" else None,
        is_parallel=not choice.disable_parallel_tool_use,
    )


def _function(number: int, tool: ToolDefinition) -> Tool:
    if tool.type not in (None, "custom"):
        raise ApiError(
            400,
            f"'tools' has one of the type {tool.type!r:.100} at {number}: tools of Anthropic's own "
            "are not here; send functions, with their 'input_schema'.",
            param="tools",
        )
    whose = f"'tools' has {tool.name[:100]!r}, whose 'input_schema'"
    parameters = parameters_of(tool.input_schema, whose)
    return Tool(tool.name, tool.description, parameters, bool(tool.strict))


def _wrong(what: str) -> ApiError:
    return ApiError(400, f"'tool_choice' {what}.", param="tool_choice")
