"""Whatever a loader raises over a model's files, as a refusal. Used by `trial` and `recast`."""

import contextlib
from collections.abc import Iterator

from registry.checkpoint.config import in_words
from registry.errors import NotAModel

_NO_FAULTS_OF_FILES = (NotAModel, OSError, MemoryError, KeyboardInterrupt, GeneratorExit)


@contextlib.contextmanager
def refused(what: str) -> Iterator[None]:
    """Raises NotAModel, one sentence long, for any error within.

    Files can make a loader raise anything. A panic of Rust is not even an Exception, nor is the
    exit of a module of mlx-lm that misses a package.
    """
    try:
        yield
    except _NO_FAULTS_OF_FILES:
        raise
    except BaseException as error:
        raise NotAModel(f"{what} cannot be loaded: {in_words(error)}") from None
