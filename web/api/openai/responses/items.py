"""Items, of which a conversation is made in the Responses API: as clients send them, as they are
kept, and as turns that chat templates read.

What a model says and calls in one go are several items; templates want them as one turn.
"""

import secrets
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import msgspec

from registry.checkpoint.config import Json
from runtime.requests import ChatMessage
from web.errors import ApiError

from .sealed_text import opened

Item: TypeAlias = dict[str, Any]

CUSTOM_INPUT = "input"  # the only argument of the function that a custom tool is to a model

_ROLES = {"user": "user", "system": "system", "developer": "system", "assistant": "assistant"}
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "compaction": "cmp",
}
_SUMMARY = "Summary of the conversation before:\n\n"


def new_id(kind: str) -> str:
    """An id for an item of this type."""
    return f"{_PREFIXES[kind]}_{secrets.token_hex(24)}"


def kept(sent: str | list[Item], referred: dict[str, Item]) -> list[Item]:
    """Input as it is kept and shown: a text is a user's message, and each item has an id.

    `referred` are the items that references in it stand for. Raises ApiError that names the item
    that is none.
    """
    if isinstance(sent, str):
        sent = [{"role": "user", "content": sent}]
    items: list[Item] = []
    for number, item in enumerate(sent):
        kind = _kind(item, number)
        if kind == "item_reference":
            items.append(_referred(item, number, referred))
            continue
        if kind not in _PREFIXES:
            known = ", ".join([*_PREFIXES, "item_reference"])
            _wrong(number, f"is of the type {kind!r:.100}; it may be {known}")
        own_id = item.get("id")
        item_id = own_id if isinstance(own_id, str) and own_id else new_id(kind)
        item = {**item, "type": kind, "id": item_id}
        if kind == "message":
            item["content"] = _parts(item, number)
            item.setdefault("status", "completed")
        items.append(item)
    return items


def references(sent: str | list[Item]) -> list[str]:
    """The ids that an input refers to."""
    if isinstance(sent, str):
        return []
    ids = (item.get("id") for item in sent if _kind_of(item) == "item_reference")
    return [item_id for item_id in ids if isinstance(item_id, str)]


def turns_of(
    items: Sequence[Item], instructions: str | None, num_before: int
) -> tuple[ChatMessage, ...]:
    """The conversation. `num_before` items are of earlier responses, and were read once.

    Raises ApiError that names the item of the input which is wrong.
    """
    reader = _Reader(num_before)
    if instructions:
        reader.turns.append(ChatMessage("system", instructions))
    for place, item in enumerate(items):
        reader.read(item, place - num_before)
    reader.close()
    return tuple(reader.turns)


class _Reader:
    """Items in, turns out; what an assistant said, thought and called is open until it is over."""

    def __init__(self, num_before: int) -> None:
        self.turns: list[ChatMessage] = []
        self._thoughts: list[str] = []
        self._words: str | None = None
        self._calls: list[dict[str, Json]] = []
        self._called: set[str] = set()

    def read(self, item: Item, number: int) -> None:
        match item["type"]:
            case "message":
                self._message(item, number)
            case "reasoning":
                if self._words is not None or self._calls:
                    self.close()
                self._thoughts += filter(None, [_thought(item, number)])
            case "function_call":
                self._call(item, number, _text_in(item, "arguments", number))
            case "custom_tool_call":
                said = {CUSTOM_INPUT: _text_in(item, "input", number)}
                self._call(item, number, msgspec.json.encode(said).decode())
            case "function_call_output" | "custom_tool_call_output":
                self.close()
                self.turns.append(self._output(item, number))
            case "compaction":
                self.close()
                summary = opened(_text_in(item, "encrypted_content", number))
                if summary is None:
                    _wrong(number, "is a compaction that was not made here: nobody can read it")
                self.turns.append(ChatMessage("system", _SUMMARY + summary))

    def close(self) -> None:
        """What the assistant said is over."""
        if self._words is not None or self._calls or self._thoughts:
            self.turns.append(
                ChatMessage(
                    "assistant",
                    self._words if self._words is not None or self._calls else "",
                    tool_calls=self._calls or None,
                    reasoning_content="".join(self._thoughts) or None,
                )
            )
        self._thoughts, self._words, self._calls = [], None, []

    def _message(self, item: Item, number: int) -> None:
        role = _ROLES[item["role"]]
        text = "".join(part["text"] for part in item["content"])
        if role != "assistant":
            self.close()
            self.turns.append(ChatMessage(role, text))
            return
        if self._words is not None or self._calls:
            self.close()
        self._words = text

    def _call(self, item: Item, number: int, arguments: str) -> None:
        call_id = _text_in(item, "call_id", number)
        self._called.add(call_id)
        function: dict[str, Json] = {
            "name": _text_in(item, "name", number), "arguments": arguments
        }  # fmt: skip
        self._calls.append({"id": call_id, "type": "function", "function": function})

    def _output(self, item: Item, number: int) -> ChatMessage:
        call_id = _text_in(item, "call_id", number)
        if call_id not in self._called:
            _wrong(number, f"is the output of {call_id!r:.100}, which no item before it calls")
        output = item.get("output")
        if isinstance(output, list):
            output = "".join(part["text"] for part in _read_parts(output, "user", number))
        if not isinstance(output, str):
            _wrong(number, "has an 'output' that is neither a text nor a list of parts")
        return ChatMessage("tool", output, tool_call_id=call_id)


def _kind(item: Item, number: int) -> str:
    kind = _kind_of(item)
    if not isinstance(kind, str):
        _wrong(number, "has no 'type'")
    return kind


def _kind_of(item: Item) -> object:
    """The type; a message and a reference may come without."""
    if (kind := item.get("type")) is not None:
        return kind
    return "message" if "role" in item else "item_reference" if "id" in item else None


def _referred(item: Item, number: int, known: dict[str, Item]) -> Item:
    if (found := known.get(str(item.get("id")))) is None:
        _wrong(number, f"refers to the item {item.get('id')!r:.100}, which is not kept here")
    return found


def _parts(item: Item, number: int) -> list[Item]:
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        _wrong(number, f"has the role {role!r:.100}; it may be {', '.join(_ROLES)}")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        _wrong(number, "has a 'content' that is neither a text nor a list of parts")
    return _read_parts(content, role, number)


def _read_parts(content: list[Any], role: str, number: int) -> list[Item]:
    """Parts in the one form that the API shows them in."""
    known = ("input_text", "output_text", "text", "refusal", "summary_text")
    kind = "output_text" if role == "assistant" else "input_text"
    parts: list[Item] = []
    for place, part in enumerate(content):
        name = f"has in its content[{place}]"
        sent = part.get("type") if isinstance(part, dict) else None
        if sent not in known:
            _wrong(number, f"{name} a part of the type {sent!r:.100}; this model reads text only")
        text = part.get("refusal") if sent == "refusal" else part.get("text")
        if not isinstance(text, str):
            _wrong(number, f"{name} a part without a text")
        parts.append({"type": kind, "text": text} | _beside(kind))
    return parts


def _beside(kind: str) -> Item:
    return {"annotations": [], "logprobs": []} if kind == "output_text" else {}


def _thought(item: Item, number: int) -> str:
    """What was thought, if it can be read: a summary is not what the model thought."""
    texts: list[str] = []
    for part in item.get("content") or ():
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            _wrong(number, "has a 'content' that is no list of texts")
        texts.append(part["text"])
    sealed = item.get("encrypted_content")
    if not texts and isinstance(sealed, str):
        texts.append(opened(sealed) or "")  # of another service: nobody here can read it
    return "".join(texts)


def _text_in(item: Item, name: str, number: int) -> str:
    if not isinstance(value := item.get(name), str):
        _wrong(number, f"has no text in its field '{name}'")
    return value


def _wrong(number: int, what: str) -> NoReturn:
    raise ApiError(400, f"input[{number}] {what}.", param="input")
