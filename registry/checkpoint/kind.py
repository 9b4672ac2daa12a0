"""What a model can be asked for, as its folder says: text, embeddings, or the rank of documents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from .encoders import FAMILIES
from .model import Model
from .modules import names_of

ModelKind: TypeAlias = Literal["llm", "embed", "rerank"]

ENCODER_TYPES = frozenset(FAMILIES)


def kind_of(model: Model) -> ModelKind:
    """What a folder can be asked for. Raises OSError or ValueError for a damaged config."""
    return kind_in(model.folder, model.config)


def kind_in(folder: Path, config: Mapping[str, object]) -> ModelKind:
    """What a folder with this config.json can be asked for.

    A language model embeds or ranks if files of sentence-transformers, or its head, say so.
    """
    if classifies(config):
        return "rerank"
    if config.get("model_type") in ENCODER_TYPES:
        return "embed"
    modules = names_of(folder)
    if "LogitScore" in modules:
        return "rerank"
    return "embed" if "Pooling" in modules else "llm"


def classifies(config: Mapping[str, object]) -> bool:
    """Whether it has a classification head. With one label it is a reranker."""
    names = config.get("architectures")
    return isinstance(names, list) and any(
        isinstance(name, str) and name.endswith("ForSequenceClassification") for name in names
    )
