"""A folder's model as mlx-lm builds it, without reading the weights; an embedder without its head.

`recast` then converts the weights, `trial` only checks that they fit.
"""

from functools import partial
from pathlib import Path
from typing import Any

from mlx.nn.layers.linear import Linear
from mlx_lm.utils import _get_classes, load_model

from registry.checkpoint.architectures import architecture_of
from registry.checkpoint.config import read_config
from registry.checkpoint.fitted import fitted
from registry.checkpoint.headless import class_of
from registry.checkpoint.kind import kind_in
from registry.checkpoint.spelling import overrides

from .float8 import decoding, float8_names, without_packing
from .respelled import respelled


def load_lazily(folder: Path, *, companions: Path | None = None) -> tuple[Any, dict[str, Any]]:
    """The model and its config, built for what the files beside its weights make of it.

    These are in `companions`, if they are not in the model's folder. Weights of eight bits are
    decoded. Raises what mlx-lm raises.
    """
    said_by = companions or folder
    stored = read_config(folder)
    to_decode = float8_names(folder, stored)

    def classes(config: dict[str, Any]) -> tuple[Any, Any]:
        base, arguments = _get_classes(config)
        base = respelled(base, architecture_of(config))
        built = class_of(base, said_by, config, partial(Linear, bias=False))
        if to_decode:
            built = decoding(built, to_decode, stored)
        return fitted(built), arguments

    changes = overrides(folder)
    if to_decode:
        changes |= without_packing(stored | changes)
    model, config = load_model(
        folder,
        lazy=True,
        model_config=changes,
        trust_remote_code=False,
        get_model_classes=classes,
    )
    if to_decode:
        del config["quantization_config"]
    if kind_in(said_by, config) != "llm" and not hasattr(model, "model"):
        raise ValueError("an embedder of this architecture is not supported: no hidden states")
    return model, config
