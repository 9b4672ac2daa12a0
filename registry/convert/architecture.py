"""A folder's model as mlx-lm builds it, without reading the weights; an embedder without its head.

`recast` then converts the weights, `trial` only checks that they fit.
"""

from pathlib import Path
from typing import Any

from mlx_lm.utils import _get_classes, load_model


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
    """mlx-lm's class without its head. Tensor names may lack "model.", as Qwen3-Embedding's do."""
    base, arguments = _get_classes(config)

    class Headless(base):  # type: ignore[misc, valid-type]
        def __init__(self, args: object) -> None:
            super().__init__(args)
            self.pop("lm_head", None)

        def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
            if not any(name.startswith("model.") for name in weights):
                weights = {f"model.{name}": value for name, value in weights.items()}
            if hasattr(base, "sanitize"):
                weights = super().sanitize(weights)
            return {k: value for k, value in weights.items() if not k.startswith("lm_head.")}

    return Headless, arguments
