"""The grammar of a whole answer: thoughts, then what is constrained, or calls of functions."""

import json
from collections.abc import Sequence

from registry.checkpoint.call_syntax import CallSyntax, Speech
from runtime.requests import Constraint, Thinking, Tool, ToolUse

from . import constraint as constraints
from .calls import Calls
from .lark import ANY, Rules
from .refused import ConstraintRefused
from .schema import embedded
from .trial import Trial

# Between thoughts and what follows: it belongs to neither.
_BLANK = "/[ \\n]{0,4}/"


def grammar_of(
    thinking: Thinking | None,
    speech: Speech | None,
    calls: CallSyntax | None,
    use: ToolUse,
    constraint: Constraint | None,
    trial: Trial,
) -> str | None:
    """None where the answer is free. Raises ConstraintRefused."""
    if calls is None or use.choice == "none":
        use = ToolUse()
    is_required = bool(use.tools) and use.choice == "required"
    if is_required:
        constraint = None  # it is for what is said
    if constraint is None and not is_required and not any(tool.strict for tool in use.tools):
        return None
    if calls is not None and calls.style != "json":
        _try_schemas([tool for tool in use.tools if tool.strict], use, trial)
    rules = Rules(trial.specials)
    said, own = _said(rules, constraint, trial)
    called = Calls(rules, calls, use) if calls is not None and use.tools else None
    if called is None:
        body = _spoken(rules, speech, said)
    elif is_required:
        body = called.required()
    elif constraint is not None or speech is not None:
        body = f"{called.required()} | {_spoken(rules, speech, said)}"
    else:
        body = called.after_text()
    grammar = rules.grammar(f"{_thoughts(rules, thinking)} {rules.add(body)}")
    if own is not None:
        named = [{"name": "answer", "lark_grammar": grammar}, {"name": "own", "lark_grammar": own}]
        grammar = json.dumps({"grammars": named})
    if called is None and thinking is None and speech is None:
        return grammar  # what is said was tried, and there is nothing else
    try:
        trial.run(grammar, "This", constraint.param if constraint is not None else "tools")
    except ConstraintRefused:
        _try_schemas(use.tools, use, trial)
        raise
    return grammar


def _said(rules: Rules, constraint: Constraint | None, trial: Trial) -> tuple[str, str | None]:
    """What is said, as a rule's body, and the request's own grammar for it. It is tried alone, so
    that what is wrong in it is told of it."""
    if constraint is None:
        return ANY, None
    what = f"The {constraints.NAMES[constraint.kind]}"
    if constraint.kind in ("lark", "gbnf"):
        own = constraints.grammar_of(constraint)
        trial.run(own, what, constraint.param)
        return "@own", own
    rule = constraints.rule_of(rules, constraint)
    trial.run(rules.grammar(rule), what, constraint.param)
    return rule, None


def _spoken(rules: Rules, speech: Speech | None, said: str) -> str:
    """What is said, in its marks: the last is often left to the end of the turn."""
    if speech is None:
        return said
    end = rules.literal(speech.end)
    return f"{rules.literal(speech.start)} {said} {f'({end})?' if end else ''}"


def _thoughts(rules: Rules, thinking: Thinking | None) -> str:
    if thinking is None:
        return ""
    block = f"{rules.until(thinking.end)} {_BLANK}"
    if thinking.is_open:
        return block
    return f"({rules.literal(thinking.start)} {block})?"


def _try_schemas(tools: Sequence[Tool], use: ToolUse, trial: Trial) -> None:
    """Find the one that cannot be enforced; what is not strict may hold more than is."""
    for tool in tools:
        param = f"tools[{use.tools.index(tool)}]"
        schema = embedded({"type": "object", **tool.parameters}, param, lenient=not tool.strict)
        what = f'The schema of the function "{tool.name}"'
        trial.run(Rules({}).grammar(schema), what, param)
