"""A conversation, shaped to what the model's chat template takes, without loss of text.

Pure: messages as clients send them in, messages as the template reads them out. What it takes was
found out by `probing`; where it takes the messages as they are, they stay as they are.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from registry.checkpoint.chat_format import ChatFormat

from .tool_turns import with_tools

Message: TypeAlias = dict[str, Any]

_BETWEEN = "\n\n"  # texts of two messages that became one


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages for the template, and what they came from."""

    messages: list[Message]
    numbers: list[int]  # for each, which of the client's messages it is, or stands before
    call_ids: dict[str, str] = field(default_factory=dict)  # the template's -> the client's


def shaped(messages: list[Message], form: ChatFormat) -> Conversation:
    """The messages as the template takes them; those that were given are not changed.

    Raises ConversationRefused for a message that cannot be told.
    """
    turns, call_ids = with_tools(messages, form)
    turns = _taking_turns(_with_systems(turns, form), form)
    for _, message in turns:
        _say(message, form)
    return Conversation(
        [message for _, message in turns], [number for number, _ in turns], call_ids
    )


_Turns: TypeAlias = list[tuple[int, Message]]


def _with_systems(turns: _Turns, form: ChatFormat) -> _Turns:
    """System messages where they may stand; else they join one that may, or a user's turn.

    That is the one behind, or the one before; where there is none on either side, one of its own.
    """
    last = max((place for place, (_, m) in enumerate(turns) if m["role"] != "system"), default=-1)
    first = next((place for place, (_, m) in enumerate(turns) if m["role"] != "system"), len(turns))
    told: _Turns = []
    waiting: _Turns = []
    for place, (number, message) in enumerate(turns):
        role = message["role"]
        if role == "system":
            if place == 0:
                has_place = form.system_first
            elif place < first:
                has_place = form.system_repeated
            else:
                has_place = form.system_last if place > last else form.system_between
            if has_place and not waiting:
                told.append((number, message))
            elif place < first and told:
                _join(told[0][1], message)
            else:
                waiting.append((number, message))
            continue
        if waiting and role == "user":
            for _, system in reversed(waiting):
                _join(message, system, is_before=True)
            waiting = []
        elif waiting and role != "tool":  # between a call and its result nothing else may stand
            _put_by(told, waiting)
            waiting = []
        told.append((number, message))
    _put_by(told, waiting)
    return told


def _put_by(told: _Turns, waiting: _Turns) -> None:
    """At the end of a user's turn, or as one."""
    for number, system in waiting:
        if told and told[-1][1]["role"] == "user":
            _join(told[-1][1], system)
        else:
            told.append((number, {"role": "user", "content": _text(system)}))


def _taking_turns(turns: _Turns, form: ChatFormat) -> _Turns:
    """Neighbours of one role become one turn, where they may not follow each other.

    Where they cannot, an empty turn of the other role stands between them.
    """
    told: _Turns = []
    for number, message in turns:
        role = message["role"]
        before = told[-1][1] if told else None
        before_role = before["role"] if before else "system"
        if before is None or before_role != role:
            if role == "assistant" and before_role == "system" and not form.starts_with_assistant:
                told.append((number, {"role": "user", "content": ""}))
            elif role == "user" and before_role == "tool" and not form.user_after_result:
                told.append((number, {"role": "assistant", "content": ""}))
        elif role == "user" and not form.repeats_user:
            _join(before, message)
            continue
        elif role == "assistant" and not form.repeats_assistant:
            if not before.get("tool_calls") and (
                form.content_with_calls or not message.get("tool_calls") or not _text(before)
            ):
                _join(before, message)
                continue
            told.append((number, {"role": "user", "content": ""}))
        told.append((number, message))
    return told


def _join(message: Message, other: Message, *, is_before: bool = False) -> None:
    """Take over all that the other says, behind one's own words or before."""
    for name in ("content", "reasoning_content"):
        texts = [text for text in (message.get(name), other.get(name)) if text]
        if texts:
            message[name] = _BETWEEN.join(reversed(texts) if is_before else texts)
    if calls := other.get("tool_calls"):
        message["tool_calls"] = [*(message.get("tool_calls") or ()), *calls]
    if other.get("prefix"):
        message["prefix"] = True


def _text(message: Message) -> str:
    return message.get("content") or ""


def _say(message: Message, form: ChatFormat) -> None:
    """Content as the template reads it: text or parts, or nothing in the way that it takes."""
    content = message.get("content")
    if not content and message.get("tool_calls"):
        way = "absent" if "content" not in message else "null" if content is None else "empty"
        if form.no_content and way not in form.no_content:
            message.pop("content", None)
            if form.no_content[0] != "absent":
                message["content"] = None if form.no_content[0] == "null" else ""
        return
    if not content and message["role"] == "assistant":
        content = message["content"] = form.filler
    if form.blank_reasoning and message["role"] == "assistant":
        message.setdefault("reasoning_content", " ")
    if message["role"] in form.parts:
        message["content"] = [{"type": "text", "text": content or ""}]
