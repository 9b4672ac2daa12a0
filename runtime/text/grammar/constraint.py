"""What a request wants the text of an answer to be, as a rule."""

import json
import re

from llguidance import regex_to_lark
from llguidance.gbnf_to_lark import any_to_lark

from registry.checkpoint.config import Json
from runtime.requests import Constraint, ConstraintKind

from .lark import OPTIONS, Rules, quoted
from .refused import ConstraintRefused
from .schema import embedded

# What is said of each.
NAMES: dict[ConstraintKind, str] = {
    "json_object": "answer",
    "json_schema": "schema",
    "regex": "regular expression",
    "choice": "choice",
    "lark": "grammar",
    "gbnf": "grammar",
}
_MAX_CHARS = 200_000  # of a pattern, of a grammar, of all choices


def rule_of(rules: Rules, constraint: Constraint) -> str:
    """The name of a rule, for one that is no grammar of its own. Raises ConstraintRefused."""
    match constraint.kind:
        case "json_object":
            return rules.add(embedded({"type": "object"}, constraint.param))
        case "json_schema":
            return rules.add(embedded(constraint.value, constraint.param))
        case "choice":
            return rules.add(_choice(constraint), is_terminal=True)
        case _:
            return rules.add(f"/{_regex(_text(constraint))}/")


def grammar_of(constraint: Constraint) -> str:
    """A grammar of the request's own, as Lark."""
    text = _text(constraint)
    if constraint.kind == "lark":
        return f"{text}\n{OPTIONS}"
    try:
        lark: str = any_to_lark(text)
    except Exception as error:
        raise ConstraintRefused(f"This is no GBNF: {error}", constraint.param) from error
    return f"{lark}\n{OPTIONS}"


def _text(constraint: Constraint) -> str:
    value = constraint.value
    if not isinstance(value, str) or not value:
        raise ConstraintRefused("This has to be a text that is not empty.", constraint.param)
    if len(value) > _MAX_CHARS:
        raise ConstraintRefused(
            f"{len(value)} characters are more than the {_MAX_CHARS} that are read.",
            constraint.param,
        )
    return value


def _regex(pattern: str) -> str:
    """The whole answer matches, so anchors around it say nothing new."""
    if "|" not in pattern:
        pattern = pattern.removeprefix("^")
        if re.search(r"(?<!\\)(\\\\)*\$$", pattern):
            pattern = pattern[:-1]
    lark: str = regex_to_lark(pattern, "dws")
    return lark


def _choice(constraint: Constraint) -> str:
    choices: Json = constraint.value
    if not isinstance(choices, list) or not choices:
        raise ConstraintRefused("This has to be a list of texts.", constraint.param)
    texts = [choice for choice in choices if isinstance(choice, str)]
    if len(texts) < len(choices):
        raise ConstraintRefused("Every choice has to be a text.", constraint.param)
    if len(json.dumps(texts)) > _MAX_CHARS:
        raise ConstraintRefused(
            f"The choices have more than {_MAX_CHARS} characters.", constraint.param
        )
    return " | ".join(map(quoted, dict.fromkeys(texts)))
