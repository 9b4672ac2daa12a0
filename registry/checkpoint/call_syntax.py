"""How a model writes calls of functions: learned from its chat template,
which is made to write some.

    {section_open} {call_open} name {name_close} arguments {call_close} {between} ...
    {section_close}

Held by the record and the runtime.
"""

from typing import Literal, TypeAlias

import msgspec

# What the arguments are: one JSON object; or each by itself, between tags or as Python's keywords.
ArgumentStyle: TypeAlias = Literal["json", "tagged", "python"]


class Tags(msgspec.Struct, frozen=True, omit_defaults=True):
    """Around each argument that stands by itself; `{key}` is its name where it is repeated."""

    key_open: str
    key_close: str
    value_close: str
    between: str = ""


class CallSyntax(msgspec.Struct, frozen=True, omit_defaults=True):
    """Literal text around names and arguments. `{id}`, `{index}` and `{name}` stand for those."""

    section_open: str
    call_open: str
    name_close: str
    call_close: str
    between: str
    section_close: str
    style: ArgumentStyle = "json"
    tags: Tags | None = None
