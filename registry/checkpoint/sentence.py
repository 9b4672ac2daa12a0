"""What sentence-transformers says of a model's texts: how long they may be, if capitals count."""

from dataclasses import dataclass
from pathlib import Path

from .companions import TEXT_FILES
from .config import positive
from .modules import read_small_json


@dataclass(frozen=True, slots=True)
class Texts:
    """How a text is read, beside what the tokenizer says."""

    max_tokens: int | None  # special ones included
    is_lowered: bool


def texts_of(folder: Path) -> Texts:
    """By the first of its files that says anything. Raises OSError or ValueError for damage."""
    for name in TEXT_FILES:
        path = folder / name
        if path.is_file() and (said := read_small_json(path)):
            return Texts(positive(said.get("max_seq_length")), said.get("do_lower_case") is True)
    return Texts(None, False)
