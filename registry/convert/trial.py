"""Whether native readers really load the tokenizer and model that `checkpoint.verify` found sound.

Weights are not read, so this takes hardly any memory.
"""

from collections.abc import Callable
from pathlib import Path

from mlx_lm.utils import load_tokenizer
from tokenizers import Tokenizer

from registry.checkpoint.config import read_config
from registry.checkpoint.kind import ENCODER_TYPES
from registry.checkpoint.task import check as check_task
from registry.checkpoint.verify import Verified
from registry.errors import NotAModel

from .architecture import load_lazily
from .float8 import float8_names


def try_out(folder: Path, verified: Verified) -> None:
    """Load the tokenizer, and fit the weights to the architecture. Raises NotAModel."""
    check_task(folder, None)
    if float8_names(folder, read_config(folder)):
        raise NotAModel(
            f"{folder.name} has weights of eight bits (FP8), which are decoded when a model is "
            "imported: import it again."
        )
    if (path := folder / "tokenizer.json").is_file():
        _load("tokenizer.json", lambda: Tokenizer.from_file(str(path)))
    if verified.model_type not in ENCODER_TYPES:
        # Lazy: every tensor's name, shape and type is compared, and none is read.
        _load("the model", lambda: load_lazily(folder))
        _load("the tokenizer", lambda: load_tokenizer(folder, {"trust_remote_code": False}))


def _load(what: str, load: Callable[[], object]) -> None:
    try:
        load()
    except (OSError, MemoryError):
        raise
    except BaseException as error:
        # Files can make a loader raise anything; a panic of Rust is not even an Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise NotAModel(f"{what} cannot be loaded: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
