"""How a GGUF wants to be sampled: its `general.sampling.*`, as a generation_config.json.

llama.cpp's converter writes them from such a file (gguf-py's metadata.py), so this is its way back.
"""

import json
import math
from pathlib import Path

import numpy as np

from registry.checkpoint.sampling import FILE
from registry.checkpoint.weights import Value

_PREFIX = "general.sampling."
# What has another name there; the others have the same, also those that transformers has not.
_NAMES = {"temp": "temperature", "penalty_repeat": "repetition_penalty"}


def write_sampling(metadata: dict[str, Value], folder: Path) -> None:
    """Write generation_config.json, if there is anything to say."""
    said = {
        _NAMES.get(name, name): _shortest(value)
        for key, value in metadata.items()
        if (name := key.removeprefix(_PREFIX)) != key and not isinstance(value, list)
    }
    said = {name: value for name, value in said.items() if value is not None}
    if said:
        (folder / FILE).write_text(json.dumps(said, indent=2, ensure_ascii=False))


def _shortest(value: str | int | float) -> str | int | float | None:
    """A float32 as the number that was meant: 0.6, not 0.60000002384; None for one that is none."""
    if not isinstance(value, float):
        return value
    return float(str(np.float32(value))) if math.isfinite(value) else None
