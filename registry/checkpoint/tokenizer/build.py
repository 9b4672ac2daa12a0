"""A tokenizer made of another file than tokenizer.json, by what the file is."""

from pathlib import Path

from tokenizers import Tokenizer

from . import sentencepiece_classes, tekken, tiktoken, word_pairs, wordpiece
from .vocabulary import kind_of

_BUILDERS = {
    "tekken": tekken.build,
    "ranks": tiktoken.build,
    "word pairs": word_pairs.build,
    "wordpiece": wordpiece.build_from_text,
    "sentencepiece": sentencepiece_classes.build,
}


def build(path: Path) -> Tokenizer:
    """The tokenizer of the folder in which this file holds the vocabulary: see `classes.check`.

    Raises OSError; NotAModel, in one sentence, if it is damaged.
    """
    return _BUILDERS[kind_of(path)](path)
