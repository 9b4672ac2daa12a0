"""The messages of a chat request: what each may hold, and how templates read it."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from runtime.requests import ChatMessage
from web.errors import ApiError

Text = Annotated[str, Meta(max_length=16 << 20)]


class TextPart(msgspec.Struct, tag="text", tag_field="type"):
    """The one kind of content part a text model reads."""

    text: Text


class Message(msgspec.Struct):
    """One turn as clients send it."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


def conversation(messages: list[Message]) -> tuple[ChatMessage, ...]:
    """The messages as the runtime takes them. Raises ApiError that names the one that is wrong."""
    return tuple(_message(number, message) for number, message in enumerate(messages))


def _message(number: int, message: Message) -> ChatMessage:
    content = message.content
    if isinstance(content, list):
        content = "".join(part.text for part in content)
    if content is None and not (message.role == "assistant" and message.tool_calls):
        raise ApiError(
            400, f"messages[{number}] has no content; only an assistant's tool call may have none.",
            param="messages",
        )  # fmt: skip
    return ChatMessage(
        # Templates know "system"; "developer" is OpenAI's newer word for it.
        role="system" if message.role == "developer" else message.role,
        content=content or "",
        name=message.name,
        tool_calls=message.tool_calls,
        tool_call_id=message.tool_call_id,
        reasoning_content=message.reasoning_content,
    )
