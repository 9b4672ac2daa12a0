"""Capitals that sentence-transformers does away with, whatever the tokenizer does with them."""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase, Sequence

from registry.checkpoint.sentence import texts_of
from registry.errors import NotAModel


def add(tokenizer: Tokenizer, folder: Path) -> None:
    """Have the tokenizer lower texts first, if the folder says so. Raises OSError, NotAModel."""
    try:
        is_lowered = texts_of(folder).is_lowered
    except ValueError as error:
        raise NotAModel(f"{error}.") from None
    if is_lowered:
        before = tokenizer.normalizer
        tokenizer.normalizer = Sequence([Lowercase(), *([] if before is None else [before])])
