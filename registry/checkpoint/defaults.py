"""What transformers takes for the context length where config.json leaves it out.

It writes only what differs from its own class into the part of a multimodal config.json that is a
text model: Gemma 3 4B says nothing of its 131,072. Read from its source, without importing it.
"""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_CLASS = re.compile(r"^class ", re.MULTILINE)
_LENGTH = re.compile(
    r"^    (?:max_position_embeddings|n_positions): int(?: \| None)? = ([\d_]+)(?: \* ([\d_]+))?$",
    re.MULTILINE,
)
_NAME = re.compile(r"[a-z0-9_]{1,64}")


@cache
def context_length_of(model_type: str) -> int | None:
    """The length by default of a model_type, or None if its class has none."""
    name = model_type.replace("-", "_")
    if not _NAME.fullmatch(name):
        return None
    for folder in (name, name.removesuffix("_text")):
        path = _models() / folder / f"configuration_{folder}.py"
        for body in _CLASS.split(path.read_text()) if path.is_file() else ():
            if f'    model_type = "{model_type}"\n' in body and (found := _LENGTH.search(body)):
                return int(found[1]) * int(found[2] or 1)
    return None


def _models() -> Path:
    spec = find_spec("transformers")  # of a top-level package, so nothing is imported
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "models"
