"""What shows that a model thinks, and for how long."""

from typing import Any

from .asked_apis import Api

THINKS: dict[str, Any] = {"enable_thinking": True}
BUDGET = 4


def _thinks(api: Api, **fields: Any) -> None:
    """To the end of a short answer, as a random model does."""
    reply = api.ask(**fields)
    assert reply.thoughts and not reply.text and reply.num_thought == api.num_tokens


def _thinks_not(api: Api, **fields: Any) -> None:
    reply = api.ask(**fields)
    assert reply.text and not reply.thoughts and reply.num_thought == 0


def _thinks_briefly(api: Api, **fields: Any) -> None:
    reply = api.ask(**fields, max_tokens=NUM_AFTER)
    assert reply.text and reply.thoughts and BUDGET <= reply.num_thought <= NUM_AFTER // 2


NUM_AFTER = 40  # enough to close the block, and to say something


def reasoning_effort(api: Api) -> None:
    for effort in ("minimal", "low", "medium", "high", "xhigh", "max"):
        _thinks(api, reasoning_effort=effort)
    _thinks_not(api, reasoning_effort="none")
    low, high = (api.ask(reasoning_effort=effort).num_prompt_tokens for effort in ("low", "high"))
    assert low != high  # the template says it


def reasoning(api: Api) -> None:
    _thinks(api, reasoning={"enabled": True})
    _thinks(api, reasoning={"effort": "high"})
    _thinks_not(api, reasoning={"effort": "none"})
    _thinks_briefly(api, reasoning={"enabled": True, "max_tokens": BUDGET})
    reply = api.ask(reasoning={"enabled": True, "exclude": True})
    assert not reply.thoughts and reply.num_thought == api.num_tokens


def response_reasoning(api: Api) -> None:
    """What a template decides, or takes more than one answer, cannot be chosen."""
    reasoning(api)
    _thinks(api, reasoning={"effort": "low", "summary": "auto", "context": "auto"})
    api.refused(reasoning={"context": "current_turn"})
    api.refused(reasoning={"mode": "pro"})


def thinking(api: Api) -> None:
    _thinks(api, thinking={"type": "adaptive"})
    _thinks_not(api, thinking={"type": "disabled"})
    _thinks_briefly(api, thinking={"type": "enabled", "budget_tokens": BUDGET})


def message_thinking(api: Api) -> None:
    thinking(api)
    reply = api.ask(thinking={"type": "adaptive", "display": "omitted"})
    assert not reply.thoughts and reply.num_thought == api.num_tokens


def enable_thinking(api: Api) -> None:
    _thinks(api, enable_thinking=True)
    _thinks_not(api, enable_thinking=False)


def chat_template_kwargs(api: Api) -> None:
    _thinks(api, chat_template_kwargs={"enable_thinking": True})
    _thinks_not(api, chat_template_kwargs={"enable_thinking": False})


def thinking_budget(api: Api) -> None:
    _thinks_briefly(api, **THINKS, thinking_budget=BUDGET)
    _thinks_not(api, thinking_budget=0)


def thinking_token_budget(api: Api) -> None:
    _thinks_briefly(api, **THINKS, thinking_token_budget=BUDGET)


def include_reasoning(api: Api) -> None:
    reply = api.ask(**THINKS, include_reasoning=False)
    assert not reply.thoughts and reply.num_thought == api.num_tokens
