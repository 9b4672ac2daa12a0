"""What one generation is made of, from its place in the queue to its last token.

Everything here is a value; in between an engine and the web process they travel in a `Step`.
"""

from typing import Literal, TypeAlias

import msgspec

FinishReason: TypeAlias = Literal["stop", "length"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens read and written by one generation."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Timings(msgspec.Struct, frozen=True):
    """Where the time of one generation went, in seconds of a monotonic clock."""

    queued_s: float
    prefill_s: float
    decode_s: float


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
    """`done` of `total` prompt tokens are in the KV cache; `cached` of them were there before."""

    id: int
    done: int
    total: int
    cached: int = 0


class TextDelta(msgspec.Struct, frozen=True, tag=True):
    """More text of the answer, and the tokens it is made of. Never splits a character."""

    id: int
    text: str
    tokens: list[int]


class Restarted(msgspec.Struct, frozen=True, tag=True):
    """The engine died (`reason`); the answer goes on behind `num_tokens` tokens in the next one."""

    reason: str
    num_tokens: int


class SetAside(msgspec.Struct, frozen=True, tag=True):
    """The row left the batch, to be continued later. `tokens` were drawn and made no text yet."""

    id: int
    tokens: list[int]


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The last event of a generation that went well. `tokens` made no text, such as the last."""

    id: int
    reason: FinishReason
    usage: Usage
    timings: Timings
    tokens: list[int] = []


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The last event of one that did not; the pool raises it as `EngineFailed`."""

    id: int
    message: str


class Embedded(msgspec.Struct, frozen=True, tag=True):
    """The only event of an `Embed` that went well: float32, little-endian, row after row."""

    id: int
    vectors: bytes
    num_dimensions: int  # 1: the scores of a reranker


Event: TypeAlias = Queued | Loading | Prefill | TextDelta | Restarted | Finished
RowEvent: TypeAlias = Prefill | TextDelta | SetAside | Finished | Failed | Embedded
