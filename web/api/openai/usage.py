"""Tokens as OpenAI's APIs count them."""

from collections.abc import Sequence

from registry.checkpoint.config import Json
from runtime.events import Usage
from web.api.answer import Answer


def usage_of(usages: Sequence[Usage]) -> dict[str, Json]:
    """Of the answers to one prompt, which is counted once."""
    prompt = max(usage.prompt_tokens for usage in usages)
    completion = sum(usage.completion_tokens for usage in usages)
    reasoning = sum(usage.reasoning_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": max(u.cached_tokens for u in usages)},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def usage_of_answers(answers: Sequence[Answer]) -> dict[str, Json]:
    """The same, of answers that are whole."""
    return usage_of([answer.usage for answer in answers])
