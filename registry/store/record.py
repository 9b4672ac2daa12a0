"""model.json: all that is known of one model on disk. Written by `store`, filled by `jobs`."""

from typing import Literal, TypeAlias

import msgspec

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.config import Json
from registry.checkpoint.exactness import Probed
from registry.checkpoint.kv_bits import KvBits
from registry.checkpoint.model_memory import ModelMemory
from registry.checkpoint.task import Task
from registry.checkpoint.verify import Verified
from registry.errors import ModelExists

Kind: TypeAlias = Literal["llm", "vlm", "embed", "onnx"]
DEFAULT_VERSION = "1.0.0"


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a model's files came from; of a hub's branch, the commit that it stood at."""

    kind: Literal["hub", "url", "upload", "folder", "package"]
    location: str  # repo_id, URL, file name, path, or a package's name
    revision: str | None = None  # of a package, its version
    sha256: dict[str, str] = {}  # file -> hash, before any conversion
    note: str | None = None  # what was found odd there, and what was made of it


class Recipe(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a person wants a model taken; None keeps what the source has."""

    bits: int | None = None
    group_size: int = 64
    dtype: str | None = None
    task: Task | None = None  # what a person said that the model is for
    kv_bits: KvBits | None = None  # of what rows keep of it when it runs

    @property
    def converts(self) -> bool:
        """Whether weights have to be converted even if they could be served as they are."""
        return self.bits is not None or self.dtype is not None


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a model as it was published; no hash is taken in a linked folder."""

    size: int
    sha256: str | None = None


Manifest: TypeAlias = dict[str, Stored]  # file name -> what it was when it was published


class Description(msgspec.Struct, frozen=True):
    """What a person says of a model; None leaves a field as it is."""

    kind: Kind | None = None
    version: str | None = None
    init_context_size: int | None = None
    gguf: dict[str, Json] | None = None
    metadata: dict[str, Json] | None = None


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """model.json."""

    id: str
    kind: Kind
    created_at: float  # unix seconds
    version: str = DEFAULT_VERSION
    linked: str | None = None  # the folder elsewhere that holds the files
    files: str | None = None  # the folder beside model.json that holds them
    manifest: Manifest = {}
    init_context_size: int | None = None
    kv_bits: KvBits | None = None  # as it was taken, or last loaded; None: as the server has it
    gguf: dict[str, Json] = {}
    metadata: dict[str, Json] = {}
    source: Source | None = None
    recipe: Recipe | None = None
    verified: Verified | None = None
    weights: tuple[str, ...] = ()  # what became of the source's, a line for each type
    failure: str | None = None  # why the last verification failed
    licence: str | None = None
    load_s: float | None = None
    peak_memory_bytes: int | None = None
    probed: Probed | None = None
    memory: ModelMemory | None = None
    chat_format: ChatFormat | None = None

    @property
    def size_bytes(self) -> int:
        """What the weights take on disk."""
        return sum(stored.size for name, stored in self.manifest.items() if is_weight(name))

    def described(self, description: Description) -> "Record":
        """The record, changed to what the description says.

        Raises ModelExists for a kind that its verified files contradict.
        """
        if self.verified is not None and description.kind not in (None, self.kind):
            raise ModelExists(
                f"A model '{self.id}' already exists, and its files are of kind '{self.kind}', "
                f"not '{description.kind}'."
            )
        said = msgspec.structs.asdict(description)
        return msgspec.structs.replace(
            self, **{name: value for name, value in said.items() if value is not None}
        )

    def passed(self, verified: Verified) -> "Record":
        """The record with new files that passed verification."""
        kind: Kind = "embed" if verified.kind == "embed" else "llm"
        return msgspec.structs.replace(
            self,
            kind=self.kind if self.kind in ("vlm", "onnx") else kind,  # only a person can tell
            verified=msgspec.structs.replace(verified, weights=()),
            weights=verified.weights,
            failure=None,
            load_s=None,  # these were measured with other files
            peak_memory_bytes=None,
            probed=None,
            memory=None,
            chat_format=None,
        )


def is_weight(name: str) -> bool:
    """Whether a file of a model folder holds weights: mlx-lm loads each of these, and no other."""
    return name.startswith("model") and name.endswith(".safetensors")
