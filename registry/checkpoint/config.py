"""config.json and other small JSON files of a model folder, checked: strangers wrote them."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from registry.errors import NotAModel

from . import lfs

if TYPE_CHECKING:
    Json: TypeAlias = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
else:
    Json = Any  # msgspec rejects a recursive alias; what it decodes from JSON is one anyway
Config: TypeAlias = dict[str, object]

NESTED = ("text_config", "language_config", "llm_config")  # where multimodal configs say it

_MAX_CONFIG_BYTES = 16 << 20

# What code raises over values that nobody expects: of another kind, or numbers without measure.
MISREAD = (
    *(TypeError, ValueError, ArithmeticError, AttributeError),
    *(KeyError, IndexError, RecursionError),
)


def read_config(folder: Path) -> Config:
    """config.json. Raises NotAModel, also for a model_type that cannot be a module of mlx-lm."""
    path = folder / "config.json"
    if not path.is_file():
        raise NotAModel("The folder has no config.json, so it is no model.")
    config = read_json(path)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", model_type):
        raise NotAModel(f"config.json has no usable model_type: {model_type!r}.")
    if config.get("model_file") is not None:
        raise NotAModel(
            "config.json has 'model_file': the model needs code of its own, which mlx-edge never "
            "runs. Choose a model whose architecture mlx-lm supports."
        )
    return config


def read_json(path: Path) -> Config:
    """A JSON object of a model folder. Raises NotAModel."""
    try:
        lfs.check(path)
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"it is larger than {_MAX_CONFIG_BYTES} bytes")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise NotAModel(f"{path.name} cannot be used: {error}.") from None
    return content


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Raises NotAModel for a value of config.json that the code within cannot take."""
    try:
        yield
    except MISREAD as error:
        raise NotAModel(
            f"config.json cannot be used: {in_words(error)}; choose another model."
        ) from None


def in_words(error: BaseException) -> str:
    """An error's kind and message, on one line that can be shown and is not too long."""
    text = "".join(char if char.isprintable() else " " for char in str(error))
    return f"{type(error).__name__}: {' '.join(text.split())}"[:500]


def positive(value: object) -> int | None:
    """A positive whole number, or None."""
    return value if type(value) is int and value > 0 else None
