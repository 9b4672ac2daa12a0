"""A folder's model as mlx-lm builds it, without reading the weights; an embedder without its head.

`recast` then converts the weights, `trial` only checks that they fit.
"""

from pathlib import Path
from typing import Any

from mlx_lm.utils import _get_classes, load_model

from registry.checkpoint.headless import headless


def load_lazily(folder: Path, *, is_embedder: bool) -> tuple[Any, dict[str, Any]]:
    """The model and its config. Raises what mlx-lm raises."""
    classes = _headless_classes if is_embedder else _get_classes
    model, config = load_model(
        folder, lazy=True, trust_remote_code=False, get_model_classes=classes
    )
    if is_embedder and not hasattr(model, "model"):
        raise ValueError("an embedder of this architecture is not supported: no hidden states")
    return model, config


def _headless_classes(config: dict[str, Any]) -> tuple[Any, Any]:
    base, arguments = _get_classes(config)
    return headless(base), arguments
