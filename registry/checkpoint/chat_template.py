"""The chat template of a model folder, in whichever of its files it is.

Asked by the text worker, which renders it, and by those who tell whether a model can chat.
"""

import importlib.util
from pathlib import Path
from types import MappingProxyType

from registry.errors import NotAModel

from .config import read_json

JINJA = "chat_template.jinja"
JSON = "chat_template.json"  # of processors, for models that see or hear
NAMED = "additional_chat_templates"  # a folder of NAME.jinja
CONFIG = "tokenizer_config.json"

_MAX_BYTES = 1 << 20

# Templates that are Python, by their `chat_template_type`: modules of mlx-lm, never of the folder.
_PYTHON = MappingProxyType({"deepseek_v32": "chat_templates/deepseek_v32.py"})


def exists(folder: Path) -> bool:
    """Whether the model can chat at all. Raises NotAModel where a file cannot be read."""
    return find(folder) is not None or find_python(folder) is not None


def find(folder: Path) -> str | None:
    """The Jinja source, or None. Of several that have names, the default one.

    A file of its own beats an entry of tokenizer_config.json, as in transformers; what only
    processors read comes last. Raises NotAModel where a file cannot be read.
    """
    for path in (folder / JINJA, folder / NAMED / "default.jinja"):
        if path.is_file():
            return _text(path)
    for name in (CONFIG, JSON):
        path = folder / name
        template = read_json(path).get("chat_template") if path.is_file() else None
        if (source := _default(template)) is not None:
            return source
    return None


def find_python(folder: Path) -> Path | None:
    """The file of mlx-lm with the template that tokenizer_config.json asks for by its type."""
    path = folder / CONFIG
    kind = read_json(path).get("chat_template_type") if path.is_file() else None
    module = _PYTHON.get(kind) if isinstance(kind, str) else None
    # Where the package is, without importing it: that would import MLX.
    found = importlib.util.find_spec("mlx_lm") if module else None
    if found is None or not found.submodule_search_locations or module is None:
        return None
    return Path(found.submodule_search_locations[0]) / module


def files(folder: Path) -> tuple[Path, ...]:
    """All files that decide it, there or not."""
    return (
        *(folder / name for name in (JINJA, JSON, CONFIG)),
        folder / NAMED / "default.jinja",
    )


def _default(template: object) -> str | None:
    """The template itself, or of a list or object of named ones that of the name "default"."""
    if isinstance(template, list):
        entries = [entry for entry in template if isinstance(entry, dict)]
        named = [entry for entry in entries if isinstance(entry.get("name"), str)]
        template = {entry["name"]: entry.get("template") for entry in named}
    if isinstance(template, dict):
        only = next(iter(template.values())) if len(template) == 1 else None
        template = template.get("default", only)
    return template if isinstance(template, str) else None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise NotAModel(f"{path.name} cannot be used: {error}.") from None
