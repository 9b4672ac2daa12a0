"""What to look for in an answer to find calls of functions: a syntax, taken apart."""

import re

from registry.checkpoint.call_syntax import CallSyntax

from .arguments import TaggedArguments

_SLOT = re.compile(r"\{(?:id|index|number|name)\}")
# What stands before a name in JSON, and behind it.
_IN_JSON = re.compile(r'\{(?:[^{}]|\{\w+\})*?(?:"(\w+)":\s*)?"$')
_BEHIND_NAME = re.compile(r'",?\s*(?:"(\w+)")?:\s*$')


class Keys:
    """Of a call that is a JSON object: where its name and its arguments stand."""

    def __init__(self, name: str | None, arguments: str) -> None:
        self.name = name  # None: the name is the key
        self.arguments = arguments


class Marks:
    """A syntax, taken apart into the marks to look for."""

    def __init__(self, syntax: CallSyntax) -> None:
        self.json = _keys(syntax)
        first, *lead = _SLOT.split(syntax.call_open)
        if self.json is not None:
            first, lead = syntax.call_open.partition("{")[0], []
        self.call = first.strip()
        self.lead = [mark.strip() for mark in lead]
        self.opening = (syntax.section_open + first).strip()
        self.section_close = syntax.section_close.strip()
        self.is_unmarked = self.opening in ("", "to=")
        self.name_close = [mark.strip() for mark in _SLOT.split(syntax.name_close)]
        self.tagged: TaggedArguments | None = None
        enders = [self.name_close[0]]
        if syntax.tags is not None and syntax.style == "tagged":
            self.tagged = TaggedArguments(syntax.tags, syntax.call_close)
            enders += [syntax.tags.key_open.strip(), *syntax.call_close.split()[:1]]
        elif syntax.style != "python" and not enders[0]:
            enders = ["{"]
        self.behind_name = [mark for mark in enders if mark]
        close = syntax.call_close
        if self.json is not None:
            close = close.partition("}")[2]
        self.between = (syntax.between or "").strip()
        closing = (close.strip(), self.section_close, self.between, ";" if not self.opening else "")
        self.closing = [mark for mark in closing if mark and mark not in (",", self.call)]


def _keys(syntax: CallSyntax) -> Keys | None:
    before, behind = _IN_JSON.search(syntax.call_open), _BEHIND_NAME.match(syntax.name_close)
    if syntax.style != "json" or before is None or behind is None:
        return None
    return Keys(before[1], behind[1] or "arguments")
