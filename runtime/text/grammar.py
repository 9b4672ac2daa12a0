"""What an answer may say, as one grammar in llguidance's Lark: thoughts, text, calls."""

from registry.checkpoint.call_syntax import CallSyntax
from runtime.requests import Constraint, Thinking, ToolUse


class ConstraintRefused(Exception):
    """It cannot be enforced. `param` names what is wrong in the request."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def grammar_of(
    thinking: Thinking | None,
    calls: CallSyntax | None,
    use: ToolUse,
    constraint: Constraint | None,
) -> str | None:
    """None where the answer is free. Raises ConstraintRefused."""
    if constraint is not None:
        raise ConstraintRefused("Answers cannot be constrained yet.", constraint.param)
    return None
