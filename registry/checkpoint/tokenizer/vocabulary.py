"""Which file of a folder holds its vocabulary; only `kind_of` looks into one."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from registry.errors import NotAModel

Kind: TypeAlias = Literal["json", "tekken", "ranks", "sentencepiece", "word pairs", "wordpiece"]

TOKENIZER = "tokenizer.json"
TEKKEN = "tekken.json"
WORD_PAIRS = ("vocab.json", "merges.txt")
WORDPIECE = "vocab.txt"
_SENTENCEPIECE = ("tokenizer.model", "sentencepiece.bpe.model", "spiece.model")
_TIKTOKEN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\.tiktoken|tiktoken\.model")
NAMES = (TOKENIZER, TEKKEN, *WORD_PAIRS, WORDPIECE, *_SENTENCEPIECE, "tiktoken.model")


def is_vocabulary(name: str) -> bool:
    """Whether a file of this name may hold a vocabulary, or a part of one."""
    return name in NAMES or _is_tiktoken(name)


def files(folder: Path) -> Iterator[Path]:
    """All files that may hold a vocabulary, there or not."""
    yield from (folder / name for name in NAMES)
    yield from (path for path in folder.glob("*.tiktoken") if _is_tiktoken(path.name))


def check(folder: Path) -> Path:
    """The file that the tokenizer is made of, the surest first. Raises NotAModel: there is none."""
    for path in _candidates(folder):
        if path.is_file():
            return path
    raise NotAModel(
        "The model has no tokenizer: tokenizer.json, tekken.json, tiktoken.model, tokenizer.model, "
        "vocab.txt, or vocab.json with merges.txt is needed."
    )


def kind_of(path: Path) -> Kind:
    """What a file that was found holds. Raises OSError."""
    if path.name == TOKENIZER:
        return "json"
    if path.name == TEKKEN:
        return "tekken"
    if path.name == WORD_PAIRS[0]:
        return "word pairs"
    if path.name == WORDPIECE:
        return "wordpiece"
    # Llama 3 and GLM-4 call their ranks tokenizer.model too.
    return "ranks" if _is_tiktoken(path.name) or _begins_with_rank(path) else "sentencepiece"


def rank(line: bytes) -> tuple[bytes, int]:
    """A token and its rank. Raises ValueError."""
    token, number = line.split()
    return base64.b64decode(token, validate=True), int(number)


def _candidates(folder: Path) -> Iterator[Path]:
    yield folder / TOKENIZER
    yield folder / TEKKEN
    yield from sorted(path for path in folder.glob("*tiktoken*") if _is_tiktoken(path.name))
    yield from (folder / name for name in _SENTENCEPIECE)
    if all((folder / name).is_file() for name in WORD_PAIRS):
        yield folder / WORD_PAIRS[0]
    yield folder / WORDPIECE


def _is_tiktoken(name: str) -> bool:
    return _TIKTOKEN.fullmatch(name) is not None


def _begins_with_rank(path: Path) -> bool:
    with path.open("rb") as file:
        line = file.readline(1024)
    try:
        rank(line)
    except ValueError:
        return False
    return True
