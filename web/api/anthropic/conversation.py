"""Messages made of blocks, as conversations that chat templates read."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from registry.checkpoint.config import Json
from runtime.requests import ChatMessage, Turn
from web.errors import ApiError

Text = Annotated[str, Meta(max_length=16 << 20)]
Block: TypeAlias = dict[str, Any]

# Claude Code's first line of the system prompt: another one in each request, which would make every
# prompt new to a prefix cache. It says nothing to a model.
_BILLING = "x-anthropic-billing-header:"


class Message(msgspec.Struct):
    """One turn as clients send it; a system's may stand in the middle (a beta of the API)."""

    role: Literal["user", "assistant", "system"]
    content: Text | list[Block]


def system_text(system: str | list[Block] | None) -> ChatMessage | None:
    """What `system` says, without what is no one's to read."""
    if system is None:
        return None
    texts = [system] if isinstance(system, str) else _texts(system, "system")
    said = [text for text in map(_without_billing, texts) if text]
    return ChatMessage("system", "\n\n".join(said)) if said else None


def conversation(messages: list[Message]) -> tuple[tuple[ChatMessage, ...], Turn]:
    """The turns, and how the prompt ends: an assistant's last words are gone on with.

    Raises ApiError that names the message that is wrong.
    """
    turns: list[ChatMessage] = []
    called: set[str] = set()
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if message.role == "assistant":
            turns.append(_assistant(message, where))
            called |= {str(call["id"]) for call in turns[-1].tool_calls or ()}
        elif message.role == "system":
            turns.append(ChatMessage("system", _joined(message, where)))
        else:
            turns += _user(message, where, called)
    last = turns[-1]
    is_continued = last.role == "assistant" and not last.tool_calls and last.content
    return tuple(turns), "continued" if is_continued else "new"


def _joined(message: Message, where: str) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n\n".join(_texts(message.content, where))


def _texts(blocks: list[Block], where: str) -> list[str]:
    """Of blocks that may be nothing but texts."""
    return [_text(block, f"{where}.content[{place}]") for place, block in enumerate(blocks)]


def _user(message: Message, where: str, called: set[str]) -> list[ChatMessage]:
    """A user's words; results of tools are turns of their own, where they stand."""
    if isinstance(message.content, str):
        return [ChatMessage("user", message.content)]
    turns: list[ChatMessage] = []
    words: list[str] = []
    for place, block in enumerate(message.content):
        at = f"{where}.content[{place}]"
        if block.get("type") != "tool_result":
            words.append(_text(block, at))
            continue
        if words:
            turns.append(ChatMessage("user", "\n\n".join(words)))
            words = []
        turns.append(_result(block, at, called))
    if words or not turns:
        turns.append(ChatMessage("user", "\n\n".join(words)))
    return turns


def _result(block: Block, at: str, called: set[str]) -> ChatMessage:
    call_id = block.get("tool_use_id")
    if not isinstance(call_id, str) or call_id not in called:
        raise _wrong(f"{at} is a result of {call_id!r:.100}, which no message before it calls")
    content = block.get("content") or ""
    if not isinstance(content, str):
        if not isinstance(content, list):
            raise _wrong(f"{at} has a content that is neither a text nor a list of blocks")
        content = "\n\n".join(
            _text(part, f"{at}.content[{place}]") for place, part in enumerate(content)
        )
    if block.get("is_error") and not content:
        content = "The tool failed."
    return ChatMessage("tool", content, tool_call_id=call_id)


def _assistant(message: Message, where: str) -> ChatMessage:
    if isinstance(message.content, str):
        return ChatMessage("assistant", message.content)
    words: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Json]] = []
    for place, block in enumerate(message.content):
        at = f"{where}.content[{place}]"
        match block.get("type"):
            case "thinking":
                thoughts.append(_field(block, "thinking", at))
            case "redacted_thinking":
                pass  # sealed by a service: nobody here can read it
            case "tool_use":
                calls.append(_call(block, at))
            case _:
                words.append(_text(block, at))
    return ChatMessage(
        "assistant",
        "".join(words) if words or not calls else None,
        tool_calls=calls or None,
        reasoning_content="".join(thoughts) or None,
    )


def _call(block: Block, at: str) -> dict[str, Json]:
    arguments = block.get("input", {})
    if not isinstance(arguments, dict):
        raise _wrong(f"{at} has an 'input' that is no object")
    function: dict[str, Json] = {
        "name": _field(block, "name", at),
        "arguments": msgspec.json.encode(arguments).decode(),
    }
    return {"id": _field(block, "id", at), "type": "function", "function": function}


def _text(block: object, at: str) -> str:
    """What a block says to a model that reads text."""
    if not isinstance(block, dict):
        raise _wrong(f"{at} is no object")
    match block.get("type"):
        case "text":
            return _field(block, "text", at)
        case "document":
            source = block.get("source")
            if isinstance(source, dict) and source.get("type") == "text":
                return "\n".join([*_title(block), _field(source, "data", at)])
            if isinstance(source, dict) and source.get("type") == "content":
                content = source.get("content", "")
                texts = [content] if isinstance(content, str) else _texts(content, f"{at}.source")
                return "\n".join([*_title(block), *texts])
            raise _wrong(f"{at} is a document that is no text; this model reads text only")
        case "search_result":
            texts = _texts(block.get("content") or [], at)
            return "\n".join([*_title(block), _field(block, "source", at), *texts])
        case kind:
            raise _wrong(f"{at} is of the type {kind!r:.100}, which this model cannot read")


def _title(block: Block) -> list[str]:
    return [block["title"]] if isinstance(block.get("title"), str) else []


def _field(block: Block, name: str, at: str) -> str:
    if not isinstance(value := block.get(name), str):
        raise _wrong(f"{at} has no text in its field '{name}'")
    return value


def _without_billing(text: str) -> str:
    if not text.startswith(_BILLING):
        return text
    return text.partition("\n")[2].lstrip("\n")


def _wrong(what: str) -> ApiError:
    return ApiError(400, f"{what}.", param="messages")
