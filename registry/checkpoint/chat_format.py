"""What a model's chat template takes, as a text worker found out by asking it.

Held by the record and the runtime; `/v1/models` shows it.
"""

from typing import Literal, TypeAlias

import msgspec

from .call_syntax import CallSyntax, Speech
from .config import Json

Absence: TypeAlias = Literal["null", "empty", "absent"]  # how a message says nothing


class ChatFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which messages come out whole. The defaults take everything, as it is sent."""

    # Where a system message may stand, and comes out there: first, behind another one, between the
    # turns, at the end.
    system_first: bool = True
    system_repeated: bool = True
    system_between: bool = True
    system_last: bool = True
    # Whether two turns of the same role may follow each other.
    repeats_user: bool = True
    repeats_assistant: bool = True
    starts_with_assistant: bool = True
    filler: str = ""  # what an answer without words says, where it may not be empty
    blank_reasoning: bool = False  # an answer says that nothing was thought
    parts: tuple[str, ...] = ()  # roles whose content is a list of parts, and no string
    tools: bool = True  # definitions of tools
    tool_calls: bool = True
    tool_results: bool = True
    parallel_tool_calls: bool = True
    tool_arguments: Literal["string", "object"] = "string"
    string_arguments: bool = True  # arguments that are no JSON come out, if oddly
    object_arguments: bool = True  # arguments that are an object already come out as they should
    # Ids of calls: nine letters or digits, as Mistral's; `functions.NAME:NUMBER`, as Kimi's.
    call_ids: Literal["any", "nine", "function"] = "any"
    named_results: bool = False  # a result says which function it is of
    lone_results: bool = True  # a result may stand without the call that it answers
    user_after_result: bool = True
    content_with_calls: bool = True  # a turn may have words and calls
    no_content: tuple[Absence, ...] = ("null", "empty", "absent")  # of a turn with calls
    options: dict[str, Json] = {}  # variables without which nothing is rendered
    # How answers are marked.
    thinking: tuple[str, str] | None = None  # around what is thought
    speech: Speech | None = None
    calls: CallSyntax | None = None  # None: the template's own are not known, so ours are used

    @property
    def is_spoken(self) -> bool:
        """Calls and results are told in words."""
        return not (self.tool_calls or self.tool_results)

    def shown(self) -> dict[str, Json]:
        """The same in few words, as lists show it."""
        between = self.system_repeated and self.system_between and self.system_last
        return {
            "system": ("anywhere" if between else "first") if self.system_first else "none",
            "alternates": not (self.repeats_user and self.repeats_assistant),
            "starts_with_assistant": self.starts_with_assistant,
            "content": "parts" if "user" in self.parts else "string",
            "null_content": "null" in self.no_content,
            "tools": self.tools,
            "tool_calls": self.tool_calls and self.tool_results,
            "parallel_tool_calls": self.tool_calls and self.parallel_tool_calls,
            "tool_arguments": self.tool_arguments if self.tool_calls else None,
            "tool_call_ids": _IDS[self.call_ids] if self.tool_calls else None,
            "tool_format": "default" if self.calls is None else "template",
            "tool_call_begins": None if self.calls is None else self.calls.opening,
            "thinking": None if self.thinking is None else list(self.thinking),
        }


_IDS = {"any": "any", "nine": "nine alphanumerics", "function": "functions.NAME:NUMBER"}
