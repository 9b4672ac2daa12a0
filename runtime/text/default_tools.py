"""Functions for models whose chat template knows none: told in words, called as Hermes does."""

import json
from typing import Any

from registry.checkpoint.call_syntax import CallSyntax
from registry.checkpoint.config import Json

from .call_syntax import written

_TEXT = """\
You can call functions. Each line is one of them as JSON, with the JSON Schema of its parameters:
{functions}

To call a function, write its name and its arguments in exactly this form:
{example}
Several calls follow one another in the same form. Write nothing behind them: the results come in \
the next message. Where no function helps, answer in words."""


def message_of(definitions: list[dict[str, Any]], syntax: CallSyntax) -> dict[str, Any]:
    """What the system says of these functions."""
    functions = "\n".join(
        json.dumps(definition["function"], ensure_ascii=False) for definition in definitions
    )
    arguments: dict[str, Json] = {"PARAMETER": "VALUE"}
    example = written(syntax, [("NAME", arguments)])
    return {"role": "system", "content": _TEXT.format(functions=functions, example=example)}
