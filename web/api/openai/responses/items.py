"""Items, of which a conversation is made in the Responses API: as clients send them and as they
are kept and shown. `turns` makes of them what a model reads.
"""

import secrets
from typing import Any, NoReturn

import msgspec

from web.archive.responses import Item as Item
from web.errors import ApiError

CUSTOM_INPUT = "input"  # the only argument of the function that a custom tool is to a model
ROLES = {"user": "user", "system": "system", "developer": "system", "assistant": "assistant"}
MAX_REFERENCES = 1000
MAX_REFERRED_BYTES = 16 << 20  # as much as a body may have

_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "compaction": "cmp",
}


def new_id(kind: str) -> str:
    """An id for an item of this type."""
    return f"{_PREFIXES[kind]}_{secrets.token_hex(24)}"


def normal(sent: str | list[Item], referred: dict[str, Item]) -> list[Item]:
    """Input as it is kept and shown: a text is a user's message, and each item has an id of its
    own.

    `referred` are the items that references in it stand for. Raises ApiError that names the item
    that is none.
    """
    if isinstance(sent, str):
        sent = [{"role": "user", "content": sent}]
    sizes = {item_id: len(msgspec.json.encode(item)) for item_id, item in referred.items()}
    num_bytes = 0
    items: list[Item] = []
    seen: set[str] = set()
    for number, item in enumerate(sent):
        if _kind_of(item) == "item_reference":
            item = _referred(item, number, referred)
            num_bytes += sizes[item["id"]]
            if num_bytes > MAX_REFERRED_BYTES:
                wrong(number, f"refers to more than {MAX_REFERRED_BYTES} bytes with those before")
        else:
            item = _normal(item, number)
        own_id = item.get("id")
        if not isinstance(own_id, str) or not own_id or own_id in seen:
            item = item | {"id": new_id(item["type"])}
        seen.add(item["id"])
        items.append(item)
    return items


def _referred(item: Item, number: int, known: dict[str, Item]) -> Item:
    item_id = item.get("id")
    if not isinstance(item_id, str) or item_id not in known:
        wrong(number, f"refers to the item {item_id!r:.100}, which is not kept here")
    return known[item_id]


def _normal(item: Item, number: int) -> Item:
    kind = _kind_of(item)
    if not isinstance(kind, str):
        wrong(number, "has no 'type'")
    if kind not in _PREFIXES:
        known = ", ".join([*_PREFIXES, "item_reference"])
        wrong(number, f"is of the type {kind!r:.100}; it may be {known}")
    item = {**item, "type": kind}
    if kind == "message":
        item["content"] = _content(item, number)
        item.setdefault("status", "completed")
    return item


def references(sent: str | list[Item]) -> set[str]:
    """The ids that an input refers to. Raises ApiError for too many."""
    if isinstance(sent, str):
        return set()
    ids = [item.get("id") for item in sent if _kind_of(item) == "item_reference"]
    if len(ids) > MAX_REFERENCES:
        raise ApiError(
            400, f"'input' has {len(ids)} references; at most {MAX_REFERENCES} are read.",
            param="input",
        )  # fmt: skip
    return {item_id for item_id in ids if isinstance(item_id, str)}


def _kind_of(item: Item) -> object:
    """The type; a message and a reference may come without."""
    if (kind := item.get("type")) is not None:
        return kind
    return "message" if "role" in item else "item_reference" if "id" in item else None


def _content(item: Item, number: int) -> list[Item]:
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or role not in ROLES:
        wrong(number, f"has the role {role!r:.100}; it may be {', '.join(ROLES)}")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        wrong(number, "has a 'content' that is neither a text nor a list of parts")
    return read_parts(content, role, number)


def read_parts(content: list[Any], role: str, number: int) -> list[Item]:
    """Parts in the one form that the API shows them in. Raises ApiError for what is no text."""
    known = ("input_text", "output_text", "text", "refusal", "summary_text")
    parts: list[Item] = []
    for place, part in enumerate(content):
        name = f"has in its content[{place}]"
        sent = part.get("type") if isinstance(part, dict) else None
        if sent not in known:
            wrong(number, f"{name} a part of the type {sent!r:.100}; this model reads text only")
        text = part.get("refusal") if sent == "refusal" else part.get("text")
        if not isinstance(text, str):
            wrong(number, f"{name} a part without a text")
        if role == "assistant":
            beside: Item = {"annotations": [], "logprobs": []}
            parts.append({"type": "output_text", "text": text} | beside)
        else:
            parts.append({"type": "input_text", "text": text})
    return parts


def text_in(item: Item, name: str, number: int) -> str:
    """The text of a field. Raises ApiError where there is none."""
    if not isinstance(value := item.get(name), str):
        wrong(number, f"has no text in its field '{name}'")
    return value


def wrong(number: int, what: str) -> NoReturn:
    """Raises ApiError that names the item."""
    raise ApiError(400, f"input[{number}] {what}.", param="input")
