"""Whether prompt and answer fit the context: checked by `pool` before a model is loaded."""

from collections.abc import Iterable

import msgspec

from registry.checkpoint.model import Model

from .errors import ContextLengthExceeded, InvalidRequest, LoadFailed
from .requests import ChatInput, ChatMessage, GenerationRequest, Input, SamplingParams, TextInput

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
        return sum(map(_num_chars, input.messages))
    return len(input.text) + len(input.suffix or "")


def _num_chars(message: ChatMessage) -> int:
    """What it says, thinks and calls."""
    calls = sum(len(str(call.get("function"))) for call in message.tool_calls or ())
    return len(message.content or "") + len(message.reasoning_content or "") + calls


def is_hopeless(input: Input, context_length: int) -> bool:
    """Whether a text could never fit, whatever its tokens are."""
    return num_chars_of(input) > _MAX_CHARS_PER_TOKEN * context_length


def refuse_hopeless(input: Input, context_length: int) -> None:
    """Refuse texts that could never fit, before a minute is spent on tokenizing them."""
    if is_hopeless(input, context_length):
        num_tokens = num_chars_of(input) // _MAX_CHARS_PER_TOKEN
        raise ContextLengthExceeded(num_tokens, context_length, _param_of(input), at_least=True)


def fit(
    context_length: int, input: Input, tokens: list[int], sampling: SamplingParams
) -> SamplingParams:
    """The sampling with `max_tokens` set to no more than what is left of the context."""
    param = _param_of(input)
    if not tokens:
        raise InvalidRequest(f"'{param}' makes no tokens at all; say something.", param)
    room = context_length - len(tokens)
    if room < (0 if sampling.max_tokens == 0 else 1):
        raise ContextLengthExceeded(len(tokens), context_length, param)
    wanted = room if sampling.max_tokens is None else min(sampling.max_tokens, room)
    return msgspec.structs.replace(sampling, max_tokens=wanted)


def _param_of(input: Input) -> str:
    return input.param if isinstance(input, ChatInput) else "prompt"


def check_vocabulary(request: GenerationRequest, vocab_size: int | None) -> None:
    """Raises InvalidRequest for a token that the model does not have."""
    check_tokens(request.sampling.logit_bias, vocab_size, "logit_bias")
    check_tokens(request.sampling.stop_token_ids, vocab_size, "stop_token_ids")
    if isinstance(request.input, TextInput) and not isinstance(request.input.text, str):
        check_tokens(request.input.text, vocab_size, "prompt")


def check_tokens(tokens: Iterable[int], vocab_size: int | None, param: str) -> None:
    """Raises InvalidRequest that names the first that is none. Not known: the engine looks."""
    if vocab_size is None:
        return
    for token in tokens:
        if not 0 <= token < vocab_size:
            last = vocab_size - 1
            raise InvalidRequest(
                f"'{param}' has the token {token}; this model's go to {last}.", param
            )
