"""Calls of functions as rules: as the model writes them, with arguments that its tools take."""

import re

from registry.checkpoint.call_syntax import CallSyntax
from runtime.requests import Tool, ToolUse

from .arguments import rule_of
from .lark import ANY, Rules
from .refused import ConstraintRefused

_MAX_CALLS = 32  # in one answer
_MAX_TOOLS = 1_000
_SLOTS = re.compile(r"(\{(?:id|index|number)\})")
_ID = "/[A-Za-z0-9_\\-]{1,64}/"
_NUMBER = "/[0-9]{1,3}/"


class Calls:
    """Of one answer."""

    def __init__(self, rules: Rules, syntax: CallSyntax, use: ToolUse) -> None:
        """Raises ConstraintRefused."""
        self._rules = rules
        self._syntax = syntax
        self._is_parallel = use.is_parallel and syntax.between is not None
        numbered = list(enumerate(use.tools))
        if use.name is not None:
            numbered = [(at, tool) for at, tool in numbered if tool.name == use.name]
        if len(numbered) > _MAX_TOOLS:
            raise ConstraintRefused(
                f"Calls are enforced for up to {_MAX_TOOLS} tools; there are {len(numbered)}.",
                "tools",
            )
        is_required = use.choice == "required"
        self._from_names: dict[str, str] = {}  # rules by what of their opening is in them
        self._tools = [
            (tool, self._arguments(tool, f"tools[{at}]", is_required=is_required))
            for at, tool in numbered
        ]

    def required(self, skip: int = 0) -> str:
        """A rule's body: calls, without the first characters of their section."""
        syntax = self._syntax
        body = self._call((syntax.section_open + syntax.call_open)[skip:])
        if self._is_parallel and syntax.between is not None:
            body += f" {self._call(syntax.between + syntax.call_open)}{{0,{_MAX_CALLS - 1}}}"
        return f"{body} {self._rules.literal(syntax.section_close)}"

    def after_text(self) -> str:
        """A rule's body: free text, in which calls are right once they have begun."""
        mark = self._mark
        if not mark:
            return f"{self.required()} | {ANY}"
        if self._syntax.is_unmarked:
            return f"{self.required()} | {self._rules.not_beginning(mark)}"
        section = self._rules.add(f"{self._rules.until(mark)} {self.required(len(mark))}")
        return f"{section}{{0,{_MAX_CALLS}}} {self._rules.without(mark)}"

    @property
    def _mark(self) -> str:
        """What tells that calls begin: no more of their opening than is needed for that."""
        opening = self._syntax.opening
        first, rest = self._rules.first(opening)
        return first if rest else "".join(opening.split()[:1])

    def _call(self, opening: str) -> str:
        """The name of a rule: a call of any of the tools."""
        shared, slot, rest = opening.partition("{name}")
        return self._rules.add(f"{self._filled(shared)} {self._named(slot + rest)}")

    def _named(self, opening: str) -> str:
        """The name of a rule: a call from its function's name on, or from where that is known."""
        if opening in self._from_names:
            return self._from_names[opening]
        calls = []
        for tool, arguments in self._tools:
            head = opening + tool.name + self._syntax.name_close
            calls.append(f"{self._filled(head, tool.name)} {arguments}")
        self._from_names[opening] = self._rules.add(" | ".join(calls))
        return self._from_names[opening]

    def _arguments(self, tool: Tool, param: str, *, is_required: bool) -> str:
        """The name of a rule: what comes behind a function's name, to the end of its call."""
        syntax, closing = self._syntax, self._syntax.call_close
        if tool.strict or is_required:
            arguments = rule_of(self._rules, tool, syntax, param, is_strict=tool.strict)
        elif syntax.style == "json":
            arguments = rule_of(self._rules, Tool(tool.name), syntax, param, is_strict=False)
        else:
            return self._rules.add(self._rules.until(closing.replace("{name}", tool.name)))
        return self._rules.add(f"{arguments} {self._filled(closing, tool.name)}")

    def _filled(self, text: str, name: str = "") -> str:
        """Literals, with something for every slot."""
        filled = ""
        for part in _SLOTS.split(text.replace("{name}", name)):
            slot = {"{id}": _ID, "{index}": _NUMBER, "{number}": _NUMBER}.get(part)
            filled += f"{slot or self._rules.literal(part)} "
        return filled
