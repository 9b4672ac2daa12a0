"""What a model can be asked for, as its folder says: text, embeddings, or the rank of documents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from .companions import MODULES, POOLING
from .model import Model

ModelKind: TypeAlias = Literal["llm", "embed", "rerank"]

ENCODER_TYPES = frozenset({"bert", "nomic_bert", "modernbert", "xlm-roberta"})


def kind_of(model: Model) -> ModelKind:
    """What a folder can be asked for. Raises OSError or ValueError for a damaged config."""
    if not is_embedder(model.folder, model.model_type):
        return "llm"
    return "rerank" if is_reranker(model.model_type, model.config) else "embed"


def is_embedder(folder: Path, model_type: str) -> bool:
    """Whether it is an encoder, or a decoder with an embedder's files, such as Qwen3-Embedding."""
    return model_type in ENCODER_TYPES or all((folder / n).is_file() for n in (MODULES, POOLING))


def is_reranker(model_type: str, config: Mapping[str, object]) -> bool:
    """Whether an encoder has a head that scores a query and a document."""
    return model_type in ENCODER_TYPES and classifies(config)


def classifies(config: Mapping[str, object]) -> bool:
    """Whether it has a classification head. An encoder with one label is a reranker."""
    names = config.get("architectures")
    return isinstance(names, list) and any(
        isinstance(name, str) and name.endswith("ForSequenceClassification") for name in names
    )
