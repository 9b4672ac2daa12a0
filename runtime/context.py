"""Whether prompt and answer fit the context: checked by `pool` before a model is loaded."""

import msgspec

from registry.checkpoint.model import Model

from .errors import ContextLengthExceeded, InvalidRequest, LoadFailed
from .requests import ChatInput, Input, SamplingParams

# No text has tokens as long as this on average; the longest are runs of blanks, of up to 128.
_MAX_CHARS_PER_TOKEN = 64


def context_length_of(model: Model) -> int:
    """Tokens that prompt and answer may take together. Raises LoadFailed for a damaged config."""
    try:
        return model.context_length
    except (OSError, ValueError) as error:
        raise LoadFailed(f"Model '{model.id}' cannot be used: {error}") from error


def num_chars_of(input: Input) -> int:
    """How long the text is that a prompt is made of."""
    if isinstance(input, ChatInput):
        return sum(len(message.content or "") for message in input.messages)
    return len(input.text) + len(input.suffix or "")


def refuse_hopeless(input: Input, context_length: int) -> None:
    """Refuse texts that could never fit, before a minute is spent on tokenizing them."""
    num_chars = num_chars_of(input)
    if num_chars > _MAX_CHARS_PER_TOKEN * context_length:
        raise ContextLengthExceeded(
            num_chars // _MAX_CHARS_PER_TOKEN, context_length, at_least=True
        )


def fit(context_length: int, tokens: list[int], sampling: SamplingParams) -> SamplingParams:
    """The sampling with `max_tokens` set to no more than what is left of the context."""
    if not tokens:
        raise InvalidRequest("The messages render to an empty prompt; say something.", "messages")
    room = context_length - len(tokens)
    if room < 1:
        raise ContextLengthExceeded(len(tokens), context_length)
    wanted = room if sampling.max_tokens is None else min(sampling.max_tokens, room)
    return msgspec.structs.replace(sampling, max_tokens=wanted)
