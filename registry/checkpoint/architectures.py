"""The architectures that mlx-lm computes, read from its source without importing it.

The web process asks too, and it never loads MLX.
"""

import ast
import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_DEFINES_MODEL = re.compile(r"^class Model\b|^from \.\w+ import .*\bModel\b(?! as)", re.MULTILINE)
_SIBLING = re.compile(r"^from \.([\w-]+) import |^from \. import (.+)$", re.MULTILINE)
_MODULE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_parsing = threading.Lock()


def architecture_of(config: Mapping[str, object]) -> str:
    """The module of mlx-lm that computes a config, as its `_get_classes` finds it."""
    model_type, names = str(config.get("model_type")), config.get("architectures")
    for name in names if isinstance(names, list) else [names]:
        module = renamed_by_class().get((model_type, name)) if isinstance(name, str) else None
        if module is not None:
            return module
    return renamed().get(model_type, model_type)


@cache
def source(architecture: str) -> str | None:
    """The source of an architecture; None for a name that is none, such as "cache"."""
    path = _folder() / "models" / f"{architecture}.py"
    if not _MODULE_NAME.fullmatch(architecture) or not path.is_file():
        return None
    text = path.read_text()
    return text if _DEFINES_MODEL.search(text) else None


def mentions(architecture: str, pattern: str) -> bool:
    """Whether the source of an architecture, or of those that it builds on, has the pattern."""
    seen: set[str] = set()
    waiting = [architecture]
    while waiting:
        if (name := waiting.pop()) in seen or (text := source(name)) is None:
            continue
        if re.search(pattern, text):
            return True
        seen.add(name)
        for one, several in _SIBLING.findall(text):
            waiting += [one] if one else re.findall(r"[\w-]+", several)
    return False


def missing_packages(architecture: str) -> list[str]:
    """Packages that an architecture imports when it is loaded, and that are not installed.

    mlx_lm.models.olmo ends the process where hf_olmo is missing.
    """
    found: list[str] = []
    for node in ast.walk(_parsed(source(architecture) or "")):
        match node:
            case ast.Import(names=names):
                found += [alias.name.partition(".")[0] for alias in names]
            case ast.ImportFrom(module=str(name), level=0):
                found.append(name.partition(".")[0])
    return sorted({name for name in found if find_spec(name) is None})


@cache
def tokenizer_defaults(architecture: str) -> Mapping[str, object]:
    """What mlx-lm takes of a tokenizer where a checkpoint is silent: its TOKENIZER_DEFAULTS."""
    for node in _parsed(source(architecture) or "").body:
        match node:
            case ast.Assign(targets=[ast.Name(id="TOKENIZER_DEFAULTS")], value=value):
                found: dict[str, object] = ast.literal_eval(value)
                return found
    return {}


@cache
def argument_defaults(architecture: str) -> Mapping[str, object]:
    """What mlx-lm takes for arguments that a config.json does not say, by the classes of its own.

    Of a module that has the arguments of another one, those of that.
    """
    found: dict[str, object] = {}
    tree = _parsed(source(architecture) or "")
    for node in tree.body:
        match node:
            case ast.ImportFrom(module=str(module), level=1, names=names):
                if any(alias.name in ("Model", "ModelArgs", "TextArgs") for alias in names):
                    found = {**argument_defaults(module), **found}
            case ast.ClassDef(name=name, body=body) if name.endswith(("Args", "Config")):
                found |= dict(_literals(body))
    return found


def _literals(body: list[ast.stmt]) -> Iterator[tuple[str, object]]:
    for node in body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                with contextlib.suppress(ValueError):  # what is computed
                    yield name, ast.literal_eval(value)


def _parsed(text: str) -> ast.Module:
    """One at a time: where threads parse at once, Python 3.11 may count the depth of one tree for
    another and raise SystemError (python/cpython#106905).
    """
    with _parsing:
        return ast.parse(text)


def model_types() -> frozenset[str]:
    """Every model_type that mlx-lm computes, those that it renames included."""
    names = [path.stem for path in (_folder() / "models").glob("*.py")]
    modules = {name for name in names if source(name) is not None}
    return frozenset(modules | {name for name, module in renamed().items() if module in modules})


def renamed() -> dict[str, str]:
    """mlx-lm's MODEL_REMAPPING: model_type to module."""
    table: dict[str, str] = _tables()["MODEL_REMAPPING"]
    return table


def renamed_by_class() -> dict[tuple[str, str], str]:
    """Its MODEL_ARCHITECTURE_REMAPPING: model_type and one of `architectures` to module."""
    table: dict[tuple[str, str], str] = _tables()["MODEL_ARCHITECTURE_REMAPPING"]
    return table


@cache
def _tables() -> dict[str, dict]:  # type: ignore[type-arg]  # literals; the two above give types
    found: dict[str, dict] = {}  # type: ignore[type-arg]
    for node in _parsed((_folder() / "utils.py").read_text()).body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id="MODEL_REMAPPING" | "MODEL_ARCHITECTURE_REMAPPING" as name)],
                value=value,
            ):
                found[name] = ast.literal_eval(value)
    return found


@cache
def _folder() -> Path:
    spec = find_spec("mlx_lm")  # of a top-level package, so nothing is imported
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent
