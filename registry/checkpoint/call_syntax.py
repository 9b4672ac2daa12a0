"""How a model writes calls of functions, and what else it marks in its answers: learned from its
chat template, which is made to write some.

    {section_open} {call_open} name {name_close} arguments {call_close} {between} ...
    {section_close}

Held by the record and the runtime.
"""

from typing import Literal, TypeAlias

import msgspec

# What the arguments are: one JSON object; each by itself, between tags or as Python's keywords; or
# an object of bare words (`{city:<|"|>Paris<|"|>,days:3}`), whose strings stand between quotes.
ArgumentStyle: TypeAlias = Literal["json", "tagged", "python", "bare"]


class Tags(msgspec.Struct, frozen=True, omit_defaults=True):
    """Around each argument that stands by itself: {key_open} key {key_close} value {value_close}.

    `{key}` in `value_close` is the key again; in `key_close`, `{is_string}` is `true` or `false`
    and `{type}` the value's type, as JSON has it.
    A string stands as it is, anything else as JSON (style "tagged") or as Python ("python").
    """

    key_open: str
    key_close: str
    value_close: str
    between: str = ""
    cdata: bool = False  # strings with markup stand in <![CDATA[...]]>


class CallSyntax(msgspec.Struct, frozen=True, omit_defaults=True):
    """Literal text around names and arguments.

    In `call_open`, `name_close` and `call_close`, `{id}` stands for an id of the call, `{index}`
    for its number from 0 and `{number}` from 1, `{name}` for its name once more.
    """

    section_open: str
    call_open: str
    name_close: str
    call_close: str
    section_close: str
    between: str | None = None  # None: an answer has one call only
    style: ArgumentStyle = "json"
    tags: Tags | None = None  # of "tagged" and "python"
    quote: str = ""  # of "bare"

    @property
    def opening(self) -> str:
        """What tells that a call begins, up to where it differs from call to call."""
        return (self.section_open + self.call_open).partition("{id}")[0].partition("{index}")[0]

    @property
    def is_unmarked(self) -> bool:
        """A call is JSON like any other, so it is one only where the answer begins with it."""
        return self.opening.startswith(("{", "[{"))


class Speech(msgspec.Struct, frozen=True, omit_defaults=True):
    """Around what is said, where a model marks that too, as gpt-oss does by its channels."""

    start: str
    end: str = ""
