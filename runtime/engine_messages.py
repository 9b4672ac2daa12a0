"""What the web process and an engine say to each other, as msgpack, one frame per engine step."""

from typing import Literal, TypeAlias

import msgspec

from registry.checkpoint.cache_shape import CacheShape
from registry.checkpoint.exactness import Exactness, Probed
from registry.checkpoint.kind import ModelKind
from registry.checkpoint.kv_bits import NOT_QUANTISED, KvBits

from .cached import CacheDescription
from .events import Loading, RowEvent
from .requests import AnswerFormat, Priority, SamplingParams

SAVING_S = 10.0  # how long an engine may take to write prefixes to disk before it ends

# --- Commands: web process to engine --------------------------------------------------------


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Start a row, or continue it: a generation is its prompt, its sampling and what it drew.

    `sampling.max_tokens` is resolved, so that prompt and answer fit the context.
    """

    id: int
    tokens: list[int]  # the prompt
    sampling: SamplingParams
    drawn: list[int] = []  # by an earlier row, and told already
    priority: Priority = "interactive"
    form: AnswerFormat = AnswerFormat()
    borders: list[int] = []  # of the prompt: how many tokens stand before what others say otherwise


class Embed(msgspec.Struct, frozen=True, tag=True):
    """Encode these inputs: token ids with the model's special tokens; pairs, for a reranker."""

    id: int
    inputs: list[list[int]]
    first_lengths: list[int] = []  # tokens of each pair's first half, for models that mark it
    dimensions: int | None = None  # cut to so many, and normalised again
    priority: Priority = "interactive"


class PutAside(msgspec.Struct, frozen=True, tag=True):
    """Give up a row that will be continued later; answered by `SetAside` if it is still there."""

    id: int


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Forget a row, wherever it is. No event of it follows the next step's."""

    id: int


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Asks the engine loop, not just the process, whether it lives."""

    number: int


class DescribeCache(msgspec.Struct, frozen=True, tag=True):
    """Asks what the prefix cache holds, and how the last prompts fared with it."""

    number: int


class ForgetCache(msgspec.Struct, frozen=True, tag=True):
    """Drop all that the prefix cache holds in memory. Rows that run keep what is theirs."""

    on_disk: bool = False  # and what was written of the model


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Write what is to be on disk, within `SAVING_S`, and end the process."""


Command: TypeAlias = (
    Generate | Embed | PutAside | Cancel | Ping | DescribeCache | ForgetCache | Stop
)

# --- Reports: engine to web process ---------------------------------------------------------


class ModelInfo(msgspec.Struct, frozen=True):
    """What the engine learned by loading the model."""

    model_type: str
    vocab_size: int  # token ids are below it
    num_params: int
    weight_bytes: int
    device: str
    fingerprint: str  # changes with build and device
    kind: ModelKind = "llm"
    num_dimensions: int | None = None  # of an embedding
    max_input_tokens: int | None = None  # of an embedding model or reranker, special ones included
    probed: Probed = Probed("", Exactness())  # which ways to batch rows are exact for it
    cache_shape: CacheShape = CacheShape()  # what a row's cache was found to take
    process_bytes: int = 0  # what the process takes beside what MLX counts
    working_set_bytes: int | None = None  # the most that Metal recommends to use
    kv_bits: KvBits = NOT_QUANTISED  # that rows' caches are held in


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is in memory and answers."""

    info: ModelInfo


# What a person wished that the model cannot have, in the words of the API's errors.
LoadErrorCode: TypeAlias = Literal["kv_bits_unsupported"]


class LoadError(msgspec.Struct, frozen=True, tag=True):
    """The folder could not be loaded; the process ends after this."""

    message: str
    code: LoadErrorCode | None = None


class ChunkPass(msgspec.Struct, frozen=True):
    """What a pass over a chunk of a prompt took at its peak, beside weights and caches."""

    num_bytes: int
    chunk_tokens: int
    row_tokens: int  # of the row, with the chunk


class Step(msgspec.Struct, frozen=True, tag=True):
    """The events of all rows from one turn of the engine loop, and the rows it now holds."""

    events: list[RowEvent]
    num_rows: int
    largest_pass: ChunkPass | None = None  # told when there was a larger one than ever before


class CacheReport(msgspec.Struct, frozen=True, tag=True):
    """Answers `DescribeCache`; of an engine that keeps no prefixes, all is 0."""

    number: int
    description: CacheDescription


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The engine loop came round."""

    number: int


Report: TypeAlias = Loading | Ready | LoadError | Step | Pong | CacheReport


class DiskCache(msgspec.Struct, frozen=True):
    """Where prefixes are kept on disk, and how much of it they may take, for all models."""

    home: str
    limit_bytes: int


class EngineSettings(msgspec.Struct, frozen=True):
    """What an engine is started with."""

    prefill_chunk_tokens: int = 512
    pack_tokens: int = 4096  # of an embedding model, read in one forward pass
    prefix_cache_bytes: int = 0  # what prefixes of prompts may take in memory; 0: none are kept
    disk_cache: DiskCache | None = None  # of what was kept in memory; None: nothing is written
    kv_bits: KvBits | None = None  # a model that cannot have them is not loaded; None: the default
    default_kv_bits: KvBits = NOT_QUANTISED  # where the model can have them
    probed: Probed | None = None  # what an earlier load found out
