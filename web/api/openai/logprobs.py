"""How likely the model took its tokens, as OpenAI's chats tell it."""

from collections.abc import Sequence

from registry.checkpoint.config import Json
from runtime.events import Score

LOWEST = -9999.0  # for what cannot be drawn: JSON knows no infinity


def logprobs_of(scores: Sequence[Score]) -> dict[str, Json]:
    """Of a piece of text; a token that is a part of a character is told by its bytes."""
    content: list[Json] = []
    for score in scores:
        others: list[Json] = [_token(*other) for other in score.alternatives]
        content.append(_token(score.text, score.logprob) | {"top_logprobs": others})
    return {"content": content, "refusal": None}


def _token(text: bytes, logprob: float) -> dict[str, Json]:
    return {
        "token": text.decode("utf-8", "replace"),
        "logprob": max(logprob, LOWEST),
        "bytes": list(text),
    }
