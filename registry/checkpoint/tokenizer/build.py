"""A tokenizer made of other files than tokenizer.json."""

from pathlib import Path

from tokenizers import Tokenizer


def build(folder: Path) -> Tokenizer | None:
    """None if the folder has no file of the kind. Raises ValueError if it has a damaged one."""
    return None
