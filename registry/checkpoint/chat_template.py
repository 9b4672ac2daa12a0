"""The chat template of a model folder, in whichever of its files it is.

Asked by the text worker, which renders it, and by those who tell whether a model can chat.
"""

import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from registry.errors import NotAModel

from .config import read_json

JINJA = "chat_template.jinja"
JSON = "chat_template.json"  # of processors, for models that see or hear
NAMED = "additional_chat_templates"  # a folder of NAME.jinja
FOR_TOOLS = "tool_use"
CONFIG = "tokenizer_config.json"

_MAX_BYTES = 1 << 20


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
    for named in _named_in_json(folder):
        only = next(iter(named.values())) if len(named) == 1 else None
        if (source := named.get("default", only)) is not None:
            return source
    return None


def find_for_tools(folder: Path) -> str | None:
    """Of several templates that have names, the one for conversations with tools; else None.

    Raises NotAModel where a file cannot be read.
    """
    path = folder / NAMED / f"{FOR_TOOLS}.jinja"
    if path.is_file():
        return _text(path)
    if (folder / JINJA).is_file():  # where there is one, transformers reads no named ones in JSON
        return None
    found = (named[FOR_TOOLS] for named in _named_in_json(folder) if FOR_TOOLS in named)
    return next(found, None)


def find_python(folder: Path) -> Path | None:
    """The file of mlx-lm with the template that tokenizer_config.json asks for by its type.

    Only its own modules count, never the folder's, and only those that render.
    """
    path = folder / CONFIG
    kind = read_json(path).get("chat_template_type") if path.is_file() else None
    if not isinstance(kind, str) or not kind.isidentifier() or kind.startswith("_"):
        return None
    # Where the package is, without importing it: that would import MLX.
    found = importlib.util.find_spec("mlx_lm")
    if found is None or not found.submodule_search_locations:
        return None
    module = Path(found.submodule_search_locations[0]) / "chat_templates" / f"{kind}.py"
    return module if _renders(module) else None


@cache
def _renders(module: Path) -> bool:
    """Some have only the format of answers, and the template is the folder's."""
    try:
        return "\ndef apply_chat_template(" in module.read_text(encoding="utf-8")
    except OSError:
        return False


def files(folder: Path) -> tuple[Path, ...]:
    """All files that decide it, there or not."""
    return (
        *(folder / name for name in (JINJA, JSON, CONFIG)),
        *(folder / NAMED / f"{name}.jinja" for name in ("default", FOR_TOOLS)),
    )


def _named_in_json(folder: Path) -> Iterator[dict[str, str]]:
    """The templates that the JSON files hold, file after file; a lone one is the default."""
    for name in (CONFIG, JSON):
        path = folder / name
        template = read_json(path).get("chat_template") if path.is_file() else None
        if isinstance(template, str):
            template = {"default": template}
        if isinstance(template, list):
            entries = [entry for entry in template if isinstance(entry, dict)]
            named = [entry for entry in entries if isinstance(entry.get("name"), str)]
            template = {entry["name"]: entry.get("template") for entry in named}
        if isinstance(template, dict):
            yield {name: text for name, text in template.items() if isinstance(text, str)}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise NotAModel(f"{path.name} cannot be used: {error}.") from None
