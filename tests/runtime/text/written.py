"""What real chat templates write of an answer, as the model would have written it."""

import os
from typing import Any, NamedTuple

from registry.checkpoint.config import Json
from runtime.requests import AnswerFormat, ChatInput, ChatMessage, Tool, ToolUse
from runtime.text.answer_format import answer_format
from runtime.text.grammar.trial import Trial
from runtime.text.marked_turns import EMPTY_BLOCK
from runtime.text.prompt import ChatPrompt

from .conversations import Message, user

_KINDS = {"town": "string", "days": "integer", "rate": "number", "deep": "boolean"}
_PROPERTIES: dict[str, Json] = {
    **{key: {"type": kind, "description": key} for key, kind in _KINDS.items()},
    "tags": {"type": "array", "items": {"type": "string"}, "description": "tags"},
    "near": {"type": "object", "additionalProperties": {"type": "string"}, "description": "near"},
}
_PARAMETERS: dict[str, Json] = {"type": "object", "properties": _PROPERTIES, "required": []}
TOOLS = tuple(Tool(name, name, _PARAMETERS) for name in ("look_up", "measure"))

SAID, THOUGHT = "Let me look, plimsoll.", "They want the quiverwood.\n\nSo I look."


class Written(NamedTuple):
    """An answer as a template writes it, and how it is to be read."""

    text: str
    form: AnswerFormat


def definitions() -> list[Json]:
    return [
        {"type": "function", "function": {"name": t.name, "description": "d", "parameters": p}}
        for t, p in ((tool, tool.parameters) for tool in TOOLS)
    ]


def answer_of(chat: ChatPrompt, message: Message, *, has_tools: bool = True) -> Written:
    """What the template writes of the message, behind the prompt."""
    options: dict[str, Any] = {"tools": definitions()} if has_tools else {}
    prompt = chat.render([user("Where is it?")], options).text
    whole = chat.render([user("Where is it?"), message], options, "none").text
    input = ChatInput((ChatMessage("user", "x"),), tool_use=ToolUse(TOOLS if has_tools else ()))
    form = answer_format(chat.form, input, prompt, None, Trial({}))
    place = len(os.path.commonprefix([prompt, whole]))
    if place < len(prompt):  # it opens a block, which past turns have closed, empty or not at all
        place = whole.rfind("<", 0, place) if _is_cut(whole[:place]) else place
        text = whole[place:]
        if THOUGHT in text:
            return Written(text, form)
        text = EMPTY_BLOCK.sub("", text.removeprefix("<|CHATBOT_TOKEN|>"))
        if form.thinking is not None and form.thinking.is_open:
            text = text if form.thinking.end in text else form.thinking.end + text
        return Written(text, form)
    text = whole[place:]
    if form.thinking is not None and form.thinking.is_open and form.thinking.end not in text:
        text = form.thinking.end + text
    return Written(text, form)


def _is_cut(text: str) -> bool:
    """Whether it ends within a mark."""
    return text.rfind("<") > text.rfind(">")
