"""What a model's prefixes are good for: the same files, computed in the same way."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from mlx.utils import tree_flatten

from runtime.engine import device
from runtime.engine.cache import kv_cache
from runtime.engine.cache.layers import flat

_FORMAT = 1  # of the files; another one when something else is computed, or held otherwise


def identity(folder: Path, model: object) -> bytes:
    """Of a model that was loaded from a folder. Another one when its files, the dtypes of its
    weights, its caches, MLX or mlx-lm have changed.
    """
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    parts = {
        "format": _FORMAT,
        "folder": str(folder.resolve()),
        "files": [_file(path) for path in files],
        "dtypes": sorted(_dtypes(model)),
        "caches": [_layer(layer) for layer in flat(kv_cache.make(model))],
        "versions": [version("mlx"), version("mlx-lm")],
        "device": device.fingerprint(),
    }
    return msgspec.json.encode(parts)


def _file(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def _dtypes(model: object) -> set[str]:
    parameters: Any = tree_flatten(model.parameters())  # type: ignore[attr-defined]
    return {str(array.dtype) for _, array in parameters}


def _layer(layer: object) -> list[str]:
    """Its class, and its sizes and bits."""
    sizes = (f"{name}={value}" for name, value in vars(layer).items() if isinstance(value, int))
    return [type(layer).__name__, *sizes]
