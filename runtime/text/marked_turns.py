"""Small conversations around words of our own, and what a template sets around these words."""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from registry.checkpoint.config import Json

Message: TypeAlias = dict[str, Any]
# The prompt of these messages, up to the last one's end or to where the assistant begins; None
# where the template refuses them.
Render: TypeAlias = Callable[[Sequence[Message], bool], str | None]

ASKED, SAID, THOUGHT = "uwvor0", "axgiq0", "zmurqel"
FUNCTIONS = ("fotwix", "gudnov")
KEYS = ("dulbop", "karqez")  # in their order, for templates that sort them
VALUES = ("vimzuq", "yorfib")
CALL_IDS = ("call00001", "call00002")
# Thoughts that are none: an open block, an empty one, or the end of one that the prompt opened.
EMPTY_BLOCK = re.compile(
    r"^\s*(<[^<>/]*think[^<>]*>|<\|START_THINKING\|>)?\s*(</[^<>]*think[^<>]*>|<\|END_THINKING\|>"
    r"|<\|close\|>think<\|sep\|>)?\s*",
    re.IGNORECASE,
)


def user() -> Message:
    return {"role": "user", "content": ASKED}


def speaking(**fields: Any) -> Message:
    return {"role": "assistant", "content": SAID, **fields}


def thinking(**fields: Any) -> Message:
    """Templates read thoughts under several names."""
    return (
        speaking(**dict.fromkeys(("reasoning_content", "reasoning", "thinking"), THOUGHT)) | fields
    )


def calling(*calls: Message, content: str | None = None) -> Message:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def call(number: int, values: Sequence[str] = VALUES) -> Message:
    """The first has two arguments, the second one."""
    arguments = dict(zip(KEYS[: 2 - number], values[: 2 - number], strict=True))
    function = {"name": FUNCTIONS[number], "arguments": json.dumps(arguments)}
    return {"id": CALL_IDS[number], "type": "function", "function": function}


def tools() -> list[Json]:
    """Definitions of the functions that are called."""
    properties: Json = {key: {"type": "string", "description": "d"} for key in KEYS}
    parameters: Json = {"type": "object", "properties": properties, "required": []}
    functions: list[Json] = [
        {"name": name, "description": "d", "parameters": parameters} for name in FUNCTIONS
    ]
    return [{"type": "function", "function": function} for function in functions]


@dataclass(frozen=True)
class Turn:
    """What a template makes of one answer, from behind the user's words."""

    before: str  # the text that was looked for
    after: str


def turn(prompt: str | None, word: str) -> Turn | None:
    if prompt is None or word not in prompt:
        return None
    start = prompt.rfind(ASKED, 0, prompt.rfind(word)) + len(ASKED)
    before, _, after = prompt[start:].partition(word)
    return Turn(before, after)


def begun_by(render: Render) -> str | None:
    """How an answer begins, from behind the user's words."""
    prompt = render([user()], True)
    return None if prompt is None else prompt.rpartition(ASKED)[2]


def common_start(one: str, other: str) -> str:
    """Without a mark that only begins alike."""
    common = os.path.commonprefix([one, other])
    return common if _is_whole(common) else common[: common.rindex("<")]


def common_end(one: str, other: str) -> str:
    return os.path.commonprefix([one[::-1], other[::-1]])[::-1]


def from_mark(end: str, *texts: str) -> str:
    """The end that texts share, from the first mark on that is whole in all of them."""
    while end and not all(_is_whole(text[: len(text) - len(end)]) for text in texts):
        _, closed, rest = end.partition(">")
        end = rest if closed else ""
    return end.removeprefix("<|sep|>").lstrip()  # that one ends a mark of Kimi's


def _is_whole(text: str) -> bool:
    return text.rfind("<") <= text.rfind(">")
