"""What one generation is made of, from its place in the queue to its last token.

Everything here is a value; in between an engine and the web process they travel in a `Step`.
"""

from typing import Literal, TypeAlias

import msgspec

# "tool_calls": it ended by itself, and calls functions.
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens read and written by one generation."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0  # of the completion


class Timings(msgspec.Struct, frozen=True):
    """Where the time of one generation went, in seconds of a monotonic clock; and what its engine
    held at its end: weights, caches of all rows, kept prefixes."""

    queued_s: float
    prefill_s: float
    decode_s: float
    predicted_bytes: int = 0  # by the model of memory, for the rows that there were; 0: not told
    measured_bytes: int = 0  # as MLX counted it
    predicted_first_s: float | None = None  # to the first token, at admission; None: unknown


class Queued(msgspec.Struct, frozen=True, tag=True):
    """Admitted; `position` requests of the same model stand in front."""

    position: int


class Loading(msgspec.Struct, frozen=True, tag=True):
    """The model is being read into memory."""

    loaded_bytes: int
    total_bytes: int

    @property
    def fraction(self) -> float:
        return self.loaded_bytes / self.total_bytes if self.total_bytes else 0.0


class Prefill(msgspec.Struct, frozen=True, tag=True):
    """`done` of `total` prompt tokens are in the KV cache; `cached` of them were there before.

    While there is more to read, the cache takes `held_bytes`, with room for what is to come.
    """

    id: int
    done: int
    total: int
    cached: int = 0
    held_bytes: int | None = None


class Score(msgspec.Struct, frozen=True, array_like=True):
    """How likely the model took a token that was drawn, and what else; texts are bytes, for a
    token may be a part of a character."""

    text: bytes
    logprob: float
    alternatives: list[tuple[bytes, float]]  # the likeliest first


class PromptScores(msgspec.Struct, frozen=True, tag=True):
    """How likely the model took the prompt, told before anything is drawn."""

    id: int
    first: bytes  # its first token, which stands behind nothing
    scores: list[Score]  # of the others


class TextDelta(msgspec.Struct, frozen=True, tag=True):
    """More text of the answer, and the tokens it is made of. Never splits a character.

    All deltas have the same `scores`: of their tokens, where they were asked for.
    """

    id: int
    text: str
    tokens: list[int]
    scores: list[Score] = []


class ReasoningDelta(msgspec.Struct, frozen=True, tag=True):
    """More of what the model thinks before it answers."""

    id: int
    text: str
    tokens: list[int]
    scores: list[Score] = []


class ToolCallDelta(msgspec.Struct, frozen=True, tag=True):
    """More of a call: the first of each `index` has the function's name, and perhaps nothing else;
    the `arguments` of all are one JSON object, if the model wrote one."""

    id: int
    index: int
    name: str
    arguments: str
    tokens: list[int]
    scores: list[Score] = []


class Restarted(msgspec.Struct, frozen=True, tag=True):
    """The engine died (`reason`); the answer goes on behind `num_tokens` tokens in the next one."""

    reason: str
    num_tokens: int


class SetAside(msgspec.Struct, frozen=True, tag=True):
    """The row left the batch, to be continued later. `tokens` were drawn and made no text yet."""

    id: int
    tokens: list[int]
    scores: list[Score] = []


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The last event of a generation that went well. `tokens` made no text, such as the last."""

    id: int
    reason: FinishReason
    usage: Usage
    timings: Timings
    tokens: list[int] = []
    scores: list[Score] = []
    stop_sequence: str | None = None  # which of the request's was met
    is_repetition: bool = False  # the loop guard ended it


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The last event of one that did not; the pool raises it as `EngineFailed`."""

    id: int
    message: str
    is_broken: bool = False  # the pass itself failed, and not for want of memory


class Embedded(msgspec.Struct, frozen=True, tag=True):
    """The only event of an `Embed` that went well: float32, little-endian, row after row."""

    id: int
    vectors: bytes
    num_dimensions: int  # 1: the scores of a reranker


Delta: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta
Event: TypeAlias = Queued | Loading | Prefill | PromptScores | Restarted | Delta | Finished
RowEvent: TypeAlias = Prefill | PromptScores | Delta | SetAside | Finished | Failed | Embedded
