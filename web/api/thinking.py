"""What chat templates are told of thinking: whether (`enable_thinking`, `thinking`), and how hard
(`reasoning_effort`).

A model whose template reads none of these does not think, and there is nothing to set.
"""

from typing import Literal, TypeAlias

from registry.checkpoint.config import Json

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_WORDS: dict[Effort, str] = {
    "minimal": "low",
    "xhigh": "high",
    "max": "high",
}  # templates know three


def thinking_options(wants: bool | None, effort: Effort | None) -> dict[str, Json]:
    """In the words of templates; None leaves it to the model."""
    options: dict[str, Json] = {}
    if wants is not None:
        options |= {"enable_thinking": wants, "thinking": wants}
    if effort is not None and effort != "none":
        options["reasoning_effort"] = _WORDS.get(effort, effort)
    return options
