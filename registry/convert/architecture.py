"""A folder's model as mlx-lm builds it, without reading the weights; an embedder without its head.

`recast` then converts the weights, `trial` only checks that they fit.
"""

from functools import partial
from pathlib import Path
from typing import Any

from mlx.nn.layers.linear import Linear
from mlx_lm.utils import _get_classes, load_model

from registry.checkpoint.headless import class_of
from registry.checkpoint.kind import kind_in
from registry.checkpoint.spelling import overrides


def load_lazily(folder: Path, *, companions: Path | None = None) -> tuple[Any, dict[str, Any]]:
    """The model and its config, built for what the files beside its weights make of it.

    These are in `companions`, if they are not in the model's folder. Raises what mlx-lm raises.
    """
    said_by = companions or folder

    def classes(config: dict[str, Any]) -> tuple[Any, Any]:
        base, arguments = _get_classes(config)
        return class_of(base, said_by, config, partial(Linear, bias=False)), arguments

    model, config = load_model(
        folder,
        lazy=True,
        model_config=overrides(folder),
        trust_remote_code=False,
        get_model_classes=classes,
    )
    if kind_in(said_by, config) != "llm" and not hasattr(model, "model"):
        raise ValueError("an embedder of this architecture is not supported: no hidden states")
    return model, config
