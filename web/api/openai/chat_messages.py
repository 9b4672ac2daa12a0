"""The messages of a chat request: what each may hold, how templates read it, how the last ends."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from registry.checkpoint.config import Json
from runtime.requests import ChatMessage, Turn
from web.errors import ApiError

Text = Annotated[str, Meta(max_length=16 << 20)]


class FunctionCall(msgspec.Struct):
    """A call as it was before there were `tool_calls`."""

    name: str
    arguments: Text = ""


class Message(msgspec.Struct):
    """One turn as clients send it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    refusal: Text | None = None
    reasoning_content: str | None = None
    reasoning: Json = None  # vLLM's word for it; others mean other things by it
    prefix: bool | None = None


def conversation(messages: list[Message]) -> tuple[ChatMessage, ...]:
    """The messages as the runtime takes them. Raises ApiError that names the one that is wrong."""
    turns = tuple(_message(number, message) for number, message in enumerate(messages))
    _check_results(turns)
    return turns


def _check_results(turns: tuple[ChatMessage, ...]) -> None:
    """A result is of a call that was made before it; one without an id, as of old, of any."""
    called: set[Json] = set()
    for number, turn in enumerate(turns):
        for call in turn.tool_calls or ():
            call_id = call.get("id")
            called.add(call_id if isinstance(call_id, str) else None)
        if turn.role != "tool":
            continue
        if not called:
            raise _wrong(number, "is a result, but no message before it calls a function.")
        if turn.tool_call_id is not None and not called & {turn.tool_call_id, None}:
            what = f"is a result of {turn.tool_call_id[:100]!r}, which no message before it calls."
            raise _wrong(number, what)


def _message(number: int, message: Message) -> ChatMessage:
    calls = message.tool_calls or _call_of_old(number, message)
    content = _content(number, message)
    if content is None and message.role == "assistant":
        content = message.refusal
    if content is None and not (message.role == "assistant" and calls):
        raise _wrong(number, "has no content; only an assistant's tool call may have none.")
    if message.prefix and message.role != "assistant":
        raise _wrong(number, f"is of the role '{message.role}'; 'prefix' is the assistant's.")
    reasoning = message.reasoning_content
    if reasoning is None and isinstance(message.reasoning, str):
        reasoning = message.reasoning
    return ChatMessage(
        role=_ROLES.get(message.role, message.role),
        content=content,
        name=message.name,
        tool_calls=calls,
        tool_call_id=message.tool_call_id,
        reasoning_content=reasoning,
        prefix=bool(message.prefix),
    )


# Templates know "system"; "developer" is OpenAI's newer word for it. "function" is the older one
# for "tool".
_ROLES = {"developer": "system", "function": "tool"}


def _content(number: int, message: Message) -> str | None:
    if not isinstance(message.content, list):
        return message.content
    return "".join(
        _text(number, f"content[{place}]", part, message.role)
        for place, part in enumerate(message.content)
    )


def _text(number: int, name: str, part: dict[str, Any], role: str) -> str:
    """What a part says. Of OpenAI's kinds a text model reads `text`, and what was refused."""
    kind = part.get("type")
    known = ("text", "refusal") if role == "assistant" else ("text",)
    if not isinstance(kind, str) or kind not in known:
        kinds = " or ".join(repr(kind) for kind in known)
        raise _wrong(number, f"has {name} of the type {kind!r:.100}; the {role}'s may be {kinds}.")
    if not isinstance(text := part.get(kind), str):
        raise _wrong(number, f"has {name} without a text in its field '{kind}'.")
    return text


def _call_of_old(number: int, message: Message) -> list[dict[str, Json]] | None:
    """An assistant's `function_call` as a tool call. It has no id: results go by their order."""
    call = message.function_call
    if call is None or message.role != "assistant":
        return None
    function: dict[str, Json] = {"name": call.name, "arguments": call.arguments}
    return [{"id": f"call_{number}", "type": "function", "function": function}]


def turn_of(
    messages: list[Message], continues: bool | None, adds_generation_prompt: bool | None
) -> Turn:
    """Whether the model begins an answer, or goes on with the last message: an assistant's is.

    An explicit `add_generation_prompt: true` or `continue_final_message: false` begins an answer
    behind it, as in vLLM. Raises ApiError for what contradicts itself.
    """
    last, number = messages[-1], len(messages) - 1
    for place, message in enumerate(messages[:-1]):
        if message.prefix:
            raise _wrong(place, "has 'prefix', which only the last message may have.")
    if last.prefix and continues is False:
        raise _contradiction("continue_final_message", f"false, but messages[{number}] has prefix")
    said = f"messages[{number}] has 'prefix'" if last.prefix else "'continue_final_message' is true"
    if not (continues or last.prefix):
        if last.role != "assistant" or last.tool_calls or last.function_call:
            return "none" if adds_generation_prompt is False else "new"
        if continues is None and adds_generation_prompt is not True:
            return "continued"
        return "none" if adds_generation_prompt is False else "new"
    if adds_generation_prompt:
        raise _contradiction("add_generation_prompt", f"true, but {said}")
    if last.role != "assistant":
        raise _wrong(
            number, f"is of the role '{last.role}', but {said}: that goes on with an assistant's."
        )
    if last.tool_calls or last.function_call:
        raise _wrong(number, f"ends with tool calls, but {said}: only text can be gone on with.")
    return "continued"


def _wrong(number: int, what: str) -> ApiError:
    return ApiError(400, f"messages[{number}] {what}", param="messages")


def _contradiction(name: str, what: str) -> ApiError:
    return ApiError(400, f"'{name}' is {what}. Send one of the two.", param=name)
