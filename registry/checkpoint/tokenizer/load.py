"""A model folder to the one tokenizer that both the text worker and the engine use."""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from registry.checkpoint import lfs
from registry.checkpoint.companions import TEXT_FILES
from registry.errors import NotAModel

from . import added_tokens, classes, decoder, ending, lowercase, special_tokens, vocabulary
from .build import build


def load(folder: Path) -> Tokenizer:
    """With all tokens that the folder's files add, and a decoder that undoes what it encodes.

    Without padding and truncation: those were for the training. What tokenizer.json says of
    normalizing and splitting is done as it stands; transformers 5 builds that part anew for some
    classes and loses settings (`LlamaTokenizer`: the normalizer).
    Raises OSError; NotAModel when there is no tokenizer, or none that can be used.
    """
    path = classes.check(folder)
    lfs.check(path)
    tokenizer = _from_file(path) if path.name == vocabulary.TOKENIZER else build(path)
    tokenizer = added_tokens.add(tokenizer, folder)
    decoder.repair(tokenizer)
    ending.add(tokenizer, folder)
    lowercase.add(tokenizer, folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def write(source: Path, target: Path) -> None:
    """Write tokenizer.json of what `source` has instead of it, so that it is made only once.

    Raises OSError, NotAModel.
    """
    path = classes.check(source)
    lfs.check(path)
    if path.name != vocabulary.TOKENIZER:
        build(path).save(str(target / vocabulary.TOKENIZER))


def files(folder: Path) -> Iterator[Path]:
    """All files that it may be made of, there or not."""
    yield from vocabulary.files(folder)
    yield from (folder / name for name in (*special_tokens.FILES, *TEXT_FILES))


def _from_file(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except BaseException as error:  # a panic of Rust is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise NotAModel(f"{path.name} cannot be read: {error}") from None
