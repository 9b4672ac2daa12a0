"""Conversations whose answers are drawn by chance, so that their text is tokenised otherwise."""

import itertools
from typing import Any

from registry.checkpoint.model import Model
from runtime.events import Finished, TextDelta
from runtime.generation import Generation
from runtime.pool import ModelPool
from runtime.requests import (
    ChatInput,
    ChatMessage,
    Constraint,
    GenerationRequest,
    Input,
    SamplingRequest,
)

_LETTERS = Constraint("regex", "[a-z ]{30,60}")


def chat(*texts: str) -> ChatInput:
    roles = itertools.cycle(("user", "assistant"))
    return ChatInput(
        tuple(ChatMessage(role, text) for role, text in zip(roles, texts, strict=False))
    )


def asking(input: Input, seed: int = 11, **fields: Any) -> GenerationRequest:
    """For letters that are drawn by chance, so they are not what their text is tokenised to."""
    sampling = SamplingRequest(temperature=1, seed=seed, max_tokens=80)
    return GenerationRequest(input, sampling, constraint=_LETTERS, **fields)


async def told(generation: Generation) -> tuple[list[int], str]:
    """All that was drawn, and its text."""
    drawn, text = list[int](), ""
    async for event in generation.follow():
        if isinstance(event, TextDelta | Finished):
            drawn += event.tokens
        if isinstance(event, TextDelta):
            text += event.text
    return drawn, text


async def turn(pool: ModelPool, model: Model, talk: list[str]) -> list[int]:
    """Have a conversation go on; the prompt and what was drawn."""
    async with await pool.begin(model, asking(chat(*talk))) as generation:
        drawn, text = await told(generation)
        talk += [text, "Go on"]
        return [*generation.prompt, *drawn]


async def prompt_of(pool: ModelPool, model: Model, input: Input) -> list[int]:
    """What the model reads when it is asked this."""
    async with await pool.begin(model, asking(input)) as generation:
        return generation.prompt
