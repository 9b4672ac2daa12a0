"""The messages between the web process and an engine, and the events of one generation.

Everything here is a value. On the socket they travel as msgpack, one frame per engine step.
"""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    Json: TypeAlias = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
else:
    Json = Any  # msgspec knows no recursive alias; whatever it decodes is this anyway
FinishReason: TypeAlias = Literal["stop", "length"]
ModelKind: TypeAlias = Literal["llm", "embed", "rerank"]


class SamplingParams(msgspec.Struct, frozen=True):
    """How one request wants its tokens drawn. Ranges are checked at the door (`web.api.schema`)."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    max_tokens: int | None = None  # None: what is left of the context
    stop: tuple[str, ...] = ()
    seed: int | None = None  # None: the engine draws one


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation, as chat templates read it."""

    role: str
    content: str | None = None
    name: str | None = None
    tool_calls: list[dict[str, Json]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class GenerationRequest(msgspec.Struct, frozen=True):
    """What the web layer asks of the pool: messages to render, and how to answer them."""

    messages: tuple[ChatMessage, ...]
    sampling: SamplingParams = SamplingParams()
    template_options: dict[str, Json] = {}
    keep_alive_s: float | None = None  # None: the pool's default; inf: for ever


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """What the web layer asks of an embedding model: texts, or tokens that stand as they are."""

    inputs: tuple[str | tuple[int, ...], ...]
    prompt: str | None = None  # set before each text; or the name of one that the model brings
    dimensions: int | None = None  # None: all of the model's
    truncate: bool = False  # read the beginning of an over-long text instead of refusing it
    keep_alive_s: float | None = None  # None: the pool's default; inf: for ever


class Embeddings(msgspec.Struct, frozen=True):
    """One vector per input, in their order: float32, little-endian, row after row."""

    vectors: bytes
    num_dimensions: int
    prompt_tokens: int


class RerankRequest(msgspec.Struct, frozen=True):
    """What the web layer asks of a reranker: how well each document answers the query."""

    query: str
    documents: tuple[str, ...]
    truncate: bool = False  # of the documents: the query is never cut
    keep_alive_s: float | None = None


class Scores(msgspec.Struct, frozen=True):
    """One score per document, in their order, from 0 (irrelevant) to 1."""

    scores: tuple[float, ...]
    prompt_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """Tokens read and written by one generation."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Timings(msgspec.Struct, frozen=True):
    """Where the time of one generation went, in seconds of the engine's monotonic clock."""

    queued_s: float
    prefill_s: float
    decode_s: float


# --- Events: what one generation is made of -----------------------------------------------


class Queued(msgspec.Struct, frozen=True, tag=True):
    """Admitted; `position` requests of the same model stand in front."""

    id: int
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
    """More text of the answer, from `num_tokens` tokens. Never splits a character."""

    id: int
    text: str
    num_tokens: int = 1


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The last event of a generation that went well."""

    id: int
    reason: FinishReason
    usage: Usage
    timings: Timings


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The last event of one that did not; the pool raises it as `EngineFailed`."""

    id: int
    message: str


class Embedded(msgspec.Struct, frozen=True, tag=True):
    """The only event of an `Embed` that went well: float32, little-endian, row after row."""

    id: int
    vectors: bytes
    num_dimensions: int  # 1: the scores of a reranker


Event: TypeAlias = Queued | Loading | Prefill | TextDelta | Finished
RowEvent: TypeAlias = Prefill | TextDelta | Finished | Failed | Embedded

# --- Commands: web process to engine --------------------------------------------------------


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Start a row. `sampling.max_tokens` is resolved, so that prompt and answer fit the context."""

    id: int
    tokens: list[int]
    sampling: SamplingParams


class Embed(msgspec.Struct, frozen=True, tag=True):
    """Encode these inputs: token ids with the model's special tokens; pairs, for a reranker."""

    id: int
    inputs: list[list[int]]
    first_lengths: list[int] = []  # tokens of each pair's first half, for models that mark it
    dimensions: int | None = None  # cut to so many, and normalised again


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Forget a row, wherever it is. No event of it follows the next step's."""

    id: int


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Asks the engine loop, not just the process, whether it lives."""

    number: int


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End the process."""


Command: TypeAlias = Generate | Embed | Cancel | Ping | Stop

# --- Reports: engine to web process ---------------------------------------------------------


class ModelInfo(msgspec.Struct, frozen=True):
    """What the engine learned by loading the model."""

    model_type: str
    vocab_size: int  # token ids are below it
    num_params: int
    weight_bytes: int
    is_batchable: bool  # False: its cache cannot merge, its rows run one at a time
    device: str
    fingerprint: str  # changes with build and device
    kind: ModelKind = "llm"
    num_dimensions: int | None = None  # of an embedding
    max_input_tokens: int | None = None  # of an embedding model or reranker, special ones included


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is in memory and answers."""

    info: ModelInfo


class LoadError(msgspec.Struct, frozen=True, tag=True):
    """The folder could not be loaded; the process ends after this."""

    message: str


class Step(msgspec.Struct, frozen=True, tag=True):
    """The events of all rows from one turn of the engine loop, and the rows it now holds."""

    events: list[RowEvent]
    num_rows: int


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The engine loop came round."""

    number: int


Report: TypeAlias = Loading | Ready | LoadError | Step | Pong


class EngineSettings(msgspec.Struct, frozen=True):
    """What an engine is started with."""

    max_rows: int = 16  # rows computed at once; the rest wait
    prefill_chunk_tokens: int = 512
    pack_tokens: int = 4096  # of an embedding model, read in one forward pass
