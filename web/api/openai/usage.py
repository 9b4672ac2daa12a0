"""Tokens as OpenAI's APIs count them."""

from collections.abc import Sequence

from registry.checkpoint.config import Json
from runtime.events import Usage
from web.api.answer import Answer


def usage_of(usages: Sequence[Usage]) -> dict[str, Json]:
    """Of the answers to one prompt, which is counted once."""
    return _usage([usages])


def usage_of_prompts(prompts: Sequence[Sequence[Answer]]) -> dict[str, Json]:
    """Of answers that are whole, to one prompt or several."""
    return _usage([[answer.usage for answer in answers] for answers in prompts])


def _usage(prompts: Sequence[Sequence[Usage]]) -> dict[str, Json]:
    prompt = sum(max(usage.prompt_tokens for usage in usages) for usages in prompts)
    cached = sum(max(usage.cached_tokens for usage in usages) for usages in prompts)
    completion = sum(usage.completion_tokens for usages in prompts for usage in usages)
    reasoning = sum(usage.reasoning_tokens for usages in prompts for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
