"""What the small files of an embedding model tell before its weights are here.

`acquire` and `provision` ask before anything large is fetched, the job process once more.
"""

import json
from pathlib import Path

from registry.errors import NotAModel, SourceRefused
from registry.store.record import Recipe

from .companions import CONFIG, MODULES
from .verify import ENCODER_TYPES, Config, classifies, is_embedder, read_json

_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
_MAX_MODULES_BYTES = 1 << 20


def check_recipe(folder: Path, recipe: Recipe) -> None:
    """Raises SourceRefused for bits or a type where weights have to stay as they are."""
    if not recipe.converts:
        return
    model_type = read_json(folder / CONFIG).get("model_type")
    if model_type in ENCODER_TYPES:
        raise SourceRefused(
            f"Embedding models and rerankers of type '{model_type}' can only be taken as they are: "
            "leave out bits and dtype."
        )


def check(folder: Path) -> None:
    """Raises NotAModel for an embedding model that would be computed wrongly, or not at all."""
    config = read_json(folder / CONFIG)
    model_type = config.get("model_type")
    if isinstance(model_type, str) and is_embedder(folder, model_type) and not classifies(config):
        _check_modules(folder)
        if model_type not in ENCODER_TYPES:
            _check_attention(config)


def _check_modules(folder: Path) -> None:
    path = folder / MODULES
    if not path.is_file():
        return
    try:
        modules = json.loads(path.read_bytes()[:_MAX_MODULES_BYTES])
        names = [str(module.get("type")).rpartition(".")[2] for module in modules]
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise NotAModel(f"{MODULES} is no list of modules: {error}.") from None
    for name in names:
        if name not in _KNOWN_MODULES:
            raise NotAModel(
                f"{MODULES} has a module of type {name[:100]!r}, which is not computed here; known "
                f"are {', '.join(_KNOWN_MODULES)}. Choose a model without it."
            )


def _check_attention(config: Config) -> None:
    """A language model looks back only: one that was made to look ahead would be wrong."""
    if config.get("is_causal") is False or config.get("use_bidirectional_attention"):
        raise NotAModel(
            f"{CONFIG} wants attention in both directions of a '{config['model_type']}', which is "
            "not computed here. Choose an encoder, or a model like Qwen3-Embedding."
        )
