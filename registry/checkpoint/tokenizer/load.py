"""A model folder to the one tokenizer that both the text worker and the engine use."""

import re
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer

from registry.checkpoint import lfs

from . import added_tokens, decoder, ending, special_tokens
from .build import build

# What `build` reads.
_VOCABULARY = re.compile(r"vocab\.json|vocab\.txt|merges\.txt|tekken\.json|.+\.(model|tiktoken)")


def load(folder: Path) -> Tokenizer:
    """With all tokens that the folder's files add, and a decoder that undoes what it encodes.

    Without padding and truncation: those were for the training. What tokenizer.json says of
    normalizing and splitting is done as it stands; transformers 5 builds that part anew for some
    classes and loses settings (`LlamaTokenizer`: the normalizer).
    Raises OSError; ValueError or NotAModel when there is no tokenizer, or none that can be used.
    """
    path = folder / "tokenizer.json"
    tokenizer = _from_file(path) if path.is_file() else build(folder)
    if tokenizer is None:
        raise ValueError(
            "the model has no tokenizer: neither tokenizer.json nor a vocabulary that is known"
        )
    tokenizer = added_tokens.add(tokenizer, folder)
    decoder.repair(tokenizer)
    ending.add(tokenizer, folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def files(folder: Path) -> Iterator[Path]:
    """All files that it may be made of, there or not."""
    yield folder / "tokenizer.json"
    yield from (folder / name for name in special_tokens.FILES)
    yield from (path for path in folder.glob("*") if _VOCABULARY.fullmatch(path.name))


def _from_file(path: Path) -> Tokenizer:
    lfs.check(path)
    try:
        return Tokenizer.from_file(str(path))
    except BaseException as error:  # a panic of Rust is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"tokenizer.json cannot be read: {error}") from None
