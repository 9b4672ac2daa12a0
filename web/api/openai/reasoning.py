"""How much a model is to think: OpenAI's `reasoning_effort`, and other servers' words for it."""

from typing import Any, Literal, NamedTuple

import msgspec

from registry.checkpoint.config import Json
from web.api.generating import NumTokens
from web.api.thinking import Effort, thinking_options
from web.errors import ApiError

# Of `chat_template_kwargs`: what templates of models that think read. Others are not the caller's.
_OPTIONS: dict[str, type] = {
    "enable_thinking": bool,
    "thinking": bool,
    "clear_thinking": bool,
    "preserve_thinking": bool,
    "reasoning_effort": str,
    "thinking_budget": int,
}


class Reasoning(NamedTuple):
    """What is asked of a model's thinking."""

    options: dict[str, Json]  # of the template
    max_tokens: int | None = None
    is_shown: bool = True


class ReasoningObject(msgspec.Struct):
    """As OpenRouter has it, and OpenAI's Responses API."""

    effort: Effort | None = None
    max_tokens: NumTokens | None = None
    enabled: bool | None = None
    exclude: bool | None = None
    summary: str | None = None  # accepted: thoughts are shown whole


class ThinkingObject(msgspec.Struct):
    """As Anthropic, Z.ai and DeepSeek have it."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: NumTokens | None = None


def reasoning_of(
    effort: Effort | None,
    told: ReasoningObject | None,
    thinking: ThinkingObject | None,
    is_enabled: bool | None,
    budgets: tuple[int | None, ...],
    options: dict[str, Any] | None,
    is_included: bool | None,
) -> Reasoning:
    """Raises ApiError that names what cannot be honoured. What is said more exactly counts."""
    told = told or ReasoningObject()
    effort = effort or told.effort
    own = None if thinking is None else thinking.budget_tokens
    said = (budget for budget in (told.max_tokens, *budgets, own) if budget is not None)
    budget = next(said, None)
    wants = told.enabled
    if effort is not None and wants is None:
        wants = effort != "none"
    if thinking is not None and wants is None:
        wants = thinking.type != "disabled"
    if budget == 0:
        wants = False
    if is_enabled is not None:
        wants = is_enabled
    return Reasoning(
        thinking_options(wants, effort) | _template_options(options or {}),
        budget,
        told.exclude is not True and is_included is not False,
    )


def _template_options(sent: dict[str, Any]) -> dict[str, Json]:
    for name, value in sent.items():
        kind = _OPTIONS.get(name)
        if kind is None or type(value) is not kind:
            kinds = ", ".join(f"{name} ({kind.__name__})" for name, kind in _OPTIONS.items())
            raise ApiError(
                400, f"'chat_template_kwargs' has {name[:100]!r}; it may hold {kinds}.",
                param="chat_template_kwargs",
            )  # fmt: skip
    return dict(sent)
