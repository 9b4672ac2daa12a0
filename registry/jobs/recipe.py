"""Whether a model can be used as a recipe wants it: checked before the weights are fetched."""

from pathlib import Path

from registry.checkpoint.companions import CONFIG
from registry.checkpoint.config import read_config, read_json
from registry.checkpoint.kind import ENCODER_TYPES
from registry.checkpoint.support import check_config, with_packing
from registry.checkpoint.task import check as check_task
from registry.checkpoint.tokenizer import classes
from registry.errors import SourceRefused
from registry.store.record import Recipe


def check_small_files(folder: Path, recipe: Recipe) -> None:
    """Refuse what the files beside the weights tell: gigabytes need not come for that.

    Raises NotAModel, SourceRefused.
    """
    check_config(with_packing(read_config(folder), folder))
    classes.check(folder)
    check_recipe(folder, recipe)


def check_recipe(folder: Path, recipe: Recipe) -> None:
    """Refuse what its small files tell: a model that cannot be used, or not so.

    Raises NotAModel; SourceRefused for bits or a type where weights have to stay as they are.
    """
    check_task(folder, recipe.task)
    is_encoder = read_json(folder / CONFIG).get("model_type") in ENCODER_TYPES
    if is_encoder and recipe.kv_bits is not None:
        raise SourceRefused("Embedding models and rerankers keep no KV cache: leave out KV bits.")
    if not recipe.converts:
        return
    model_type = read_json(folder / CONFIG).get("model_type")
    if is_encoder:
        raise SourceRefused(
            f"Embedding models and rerankers of type '{model_type}' can only be taken as they are: "
            "leave out bits and dtype."
        )
