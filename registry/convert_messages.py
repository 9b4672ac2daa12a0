"""What the web process and the job process say to each other. Both import it: no MLX here."""

import msgspec

from registry.checkpoint.task import Task
from registry.checkpoint.verify import Verified


class Work(msgspec.Struct, frozen=True):
    """One job for `registry.convert`: check `source`, convert it into `target`, verify that."""

    source: str  # a model folder, or a .gguf file
    target: str | None  # the folder to write, which must not exist; None: only verify `source`
    bits: int | None = None  # quantise to so many, or keep what the source has
    group_size: int = 64
    dtype: str | None = None  # of what is not quantised: "float16", "bfloat16" or "float32"
    task: Task | None = None  # what to write down that the model is for; None: what its files say
    may_link: bool = False  # files may be hard links: the source is the registry's own


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far a stage is."""

    stage: str  # "checking", "converting" or "verifying"
    done: int
    total: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The job succeeded; the last line."""

    verified: Verified


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The job ended with one of the registry's own errors; the last line."""

    error: str  # "NotAModel", "BrokenWeights" or "ConversionFailed"
    message: str


Line = Progress | Done | Refused
