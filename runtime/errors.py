"""What can go wrong between a request and its last token; `web.errors` turns these to statuses.

RuntimeFault
├── InvalidRequest              the caller's fault: names the parameter
│   ├── ContextLengthExceeded   the prompt alone is longer than the model can read
│   │   └── InputTooLong        so is a text to embed or to rank
│   ├── TemplateFailed          the chat template refused the messages, or ran over its deadline
│   ├── TextRefused             the tokenizer refused the texts, or ran over its deadline
│   └── LoadRefused             the model cannot be loaded as it was wished: with KV in few bits
├── ModelNotLoaded              unload of something that is not in memory
├── QueueFull                   too many requests wait already: come back in `retry_after_s`
├── Unavailable                 the server's state forbids it now: come back in `retry_after_s`
│   ├── Draining                the server is shutting down
│   ├── Paused                  a person paused it
│   ├── InsufficientMemory      the model does not fit beside what is loaded and in use
│   ├── RequestTooLarge         nor would this request, were all others over
│   ├── CrashLoop               the engine died too often in a row to be started again at once
│   └── TooSlow                 the first token cannot come as early as it is wanted
├── EngineFailed                the engine could not do it
│   ├── LoadFailed              the folder could not be made into a model
│   ├── Blamed                  engines died of this request, as far as can be told
│   ├── EngineDied              the process ended or hung; its requests are carried to the next
│   │   └── EngineStopped       it was ended on purpose: they are not
│   ├── ModelRemoved            the model was removed from disk, and so from memory
│   └── Stalled                 the reader of this stream took nothing for too long
└── Cancelled                   whoever asked wants it no more
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{max(0, num_bytes) / 1e6:.1f} MB"


class RuntimeFault(Exception):
    """Base of every error that the runtime raises on purpose. `code` is stable, for programs."""

    code = "runtime_error"


class InvalidRequest(RuntimeFault):
    """The request cannot be served as it is, whatever the state. `param` names the culprit."""

    code = "invalid_value"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContextLengthExceeded(InvalidRequest):
    """The prompt alone does not fit the model's context."""

    code = "context_length_exceeded"

    def __init__(
        self,
        prompt_tokens: int,
        context_length: int,
        param: str = "messages",
        *,
        at_least: bool = False,
    ) -> None:
        """`at_least`: the prompt is so long that its tokens were not even counted."""
        count = f"at least {prompt_tokens}" if at_least else str(prompt_tokens)
        take = "take" if param == "messages" else "takes"
        super().__init__(
            f"This model's maximum context length is {context_length} tokens, but the {param} "
            f"{take} {count} tokens and one more is needed for the answer. Shorten the {param}.",
            param=param,
        )
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length


class InputTooLong(ContextLengthExceeded):
    """One of the texts to embed or to rank is longer than the model reads."""

    def __init__(
        self, param: str, index: int, num_tokens: int, limit: int, *, at_least: bool = False
    ) -> None:
        count = f"at least {num_tokens}" if at_least else str(num_tokens)
        InvalidRequest.__init__(
            self,
            f"This model reads at most {limit} tokens at once, special ones included, but number "
            f"{index} of '{param}', counted from 0, has {count}. Shorten it or split it.",
            param=param,
        )
        self.prompt_tokens = num_tokens
        self.context_length = limit


class TemplateFailed(InvalidRequest):
    """The model's chat template could not render these messages."""

    code = "chat_template_error"

    def __init__(self, message: str, param: str = "messages") -> None:
        super().__init__(message, param)


class TextRefused(InvalidRequest):
    """The model's tokenizer could not read these texts."""

    def __init__(self, message: str, param: str = "input") -> None:
        super().__init__(message, param)


class LoadRefused(InvalidRequest):
    """A model that could be loaded, but not as a person wishes it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, "kv_bits")
        self.code = code


class ModelNotLoaded(RuntimeFault):
    """The model is not in memory, so there is nothing to unload."""

    code = "model_not_loaded"

    def __init__(self, model_id: str) -> None:
        super().__init__(f"model not found in cache: {model_id}")


class QueueFull(RuntimeFault):
    """The bounded queue of a model is full."""

    code = "queue_full"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(RuntimeFault):
    """Not now: the state of the server forbids it. Retrying after `retry_after_s` may work."""

    code = "unavailable"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Draining(Unavailable):
    """The server is shutting down and takes no new work."""

    code = "draining"

    def __init__(self) -> None:
        super().__init__("The server is shutting down. Try again when it is back.", retry_after_s=5)


class Paused(Unavailable):
    """Somebody paused the server: it takes no new requests until it is resumed."""

    code = "paused"

    def __init__(self) -> None:
        way = "with `mlx-edge resume`, in the menu bar, or by POST /v1/resume"
        super().__init__(f"The server is paused. Resume it {way}.", retry_after_s=30)


class Held(NamedTuple):
    """A model that is in memory and was not unloaded for another one."""

    model_id: str
    memory_bytes: int
    state: Literal["busy", "pinned"]


class InsufficientMemory(Unavailable):
    """The model needs more bytes than the machine has free, once all idle models are gone."""

    code = "insufficient_memory"

    def __init__(
        self, model_id: str, needed_bytes: int, available_bytes: int, held: Sequence[Held] = ()
    ) -> None:
        """`held` could be unloaded by hand, or once they are idle."""
        others = ", ".join(
            f"'{other.model_id}' ({_size(other.memory_bytes)}, {other.state})" for other in held
        )
        advice = f"Unload what is in memory: {others}" if held else "No other model is in memory"
        super().__init__(
            f"Loading '{model_id}' needs {_size(needed_bytes)}, but only "
            f"{_size(available_bytes)} of memory are free. {advice}; or close other "
            "programs, or choose a smaller model.",
            retry_after_s=30,
        )
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        self.held = tuple(held)


class RequestTooLarge(Unavailable):
    """The request needs more bytes than it could have with nobody else running."""

    code = "request_exceeds_memory"

    def __init__(
        self, num_tokens: int, needed_bytes: int, available_bytes: int, limit_bytes: int
    ) -> None:
        """`available_bytes` are free now, `limit_bytes` with all running requests over."""
        super().__init__(
            f"{num_tokens} tokens of prompt and answer need {_size(needed_bytes)} of memory, but "
            f"with all other requests over there were only {_size(limit_bytes)} "
            f"({_size(available_bytes)} are free now). Send less, name a smaller 'max_tokens', "
            "unload pinned models, or close other programs.",
            retry_after_s=30,
        )
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        self.limit_bytes = limit_bytes


class CrashLoop(Unavailable):
    """The engine of this model died several times in a row."""

    code = "engine_crash_loop"


class TooSlow(Unavailable):
    """The first token is expected later than `max_ttft_s` allows."""

    code = "ttft_out_of_reach"

    def __init__(self, expected_s: float, max_ttft_s: float) -> None:
        super().__init__(
            f"The first token is expected in {math.ceil(expected_s * 1000)} ms, by the queue and "
            f"the speed measured so far, but 'max_ttft_ms' allows {max_ttft_s * 1000:g} ms.",
            retry_after_s=math.ceil(max(1.0, expected_s - max_ttft_s)),
        )
        self.expected_s = expected_s


class EngineFailed(RuntimeFault):
    """The engine accepted the request but could not finish it."""

    code = "engine_error"


class LoadFailed(EngineFailed):
    """The folder could not be loaded as a model."""

    code = "model_load_failed"


class Blamed(EngineFailed):
    """Two engines died while this request was in them, the second of it as far as can be told."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Two engines died of this request, so it is not tried again (the last: {reason})."
        )


class EngineDied(EngineFailed):
    """The engine process ended, or did not answer its heartbeat. `reason` says how it ended."""

    code = "engine_died"

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class EngineStopped(EngineDied):
    """The engine was ended on purpose, by an unload or with the server."""

    code = "model_unloaded"


class ModelRemoved(EngineFailed):
    """The model's files are gone, so its engine was ended, whatever it was doing."""

    code = "model_removed"

    def __init__(self, model_id: str) -> None:
        super().__init__(f"Model '{model_id}' was removed from this machine meanwhile.")


class Cancelled(RuntimeFault):
    """The request was cancelled."""

    code = "cancelled"

    def __init__(self) -> None:
        super().__init__("The request was cancelled.")


class Stalled(EngineFailed):
    """The client read nothing of its stream for the stall limit, so it was cancelled."""

    code = "client_stalled"
