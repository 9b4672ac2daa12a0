"""Whether a folder is a model that can be served, read in pure Python: no native reader is trusted.

Called by the job process, which then lets `trial` load what was found sound.
"""

import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias, cast

import msgspec

from registry.errors import NotAModel

from . import shards
from .companions import MODULES, POOLING
from .weights import Header

ENCODER_TYPES = frozenset({"bert", "nomic_bert", "modernbert", "xlm-roberta"})

_MAX_CONFIG_BYTES = 16 << 20
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_LABELS = ("classifier.weight", "classifier.out_proj.weight")  # a row for each label
_DEFAULT_CONTEXT_LENGTH = 32_768  # for architectures that set no limit

Config: TypeAlias = dict[str, object]


class Verified(msgspec.Struct, frozen=True):
    """What is known of a folder that passed verification."""

    kind: str  # "llm" or "embed"
    model_type: str
    context_length: int
    num_params: int
    size_bytes: int  # of the weight files
    bits: int | None  # None: not quantised
    verified_at: float  # unix seconds
    is_reranker: bool = False  # an encoder with a head that scores a query and a document


def verify(folder: Path) -> Verified:
    """Check config, shards and index, and that a tokenizer is there.

    Raises NotAModel, BrokenWeights.
    """
    config = read_config(folder)
    paths = shards.find(folder)
    headers = shards.check(folder, paths)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise NotAModel(f"{folder.name} has neither tokenizer.json nor tokenizer.model.")
    model_type = cast(str, config["model_type"])
    quantization = _quantization(config)
    is_reranker = model_type in ENCODER_TYPES and classifies(config)
    if is_reranker:
        _check_labels(headers.values())
    return Verified(
        kind="embed" if is_embedder(folder, model_type) else "llm",
        model_type=model_type,
        context_length=_context_length(config),
        num_params=_num_params(headers.values(), quantization),
        size_bytes=sum(path.stat().st_size for path in paths),
        bits=_count(quantization.get("bits")),
        verified_at=time.time(),
        is_reranker=is_reranker,
    )


def read_config(folder: Path) -> Config:
    """config.json, with a model_type that may become a module's name. Raises NotAModel."""
    path = folder / "config.json"
    if not path.is_file():
        raise NotAModel(f"{folder.name} has no config.json, so it is no model folder.")
    config = read_json(path)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", model_type):
        raise NotAModel(f"config.json has no usable model_type: {model_type!r}.")
    if config.get("model_file") is not None:
        raise NotAModel(
            "config.json has 'model_file': the model needs code of its own, which mlx-edge never "
            "runs. Choose a model whose architecture mlx-lm supports."
        )
    return config


def read_json(path: Path) -> Config:
    """A JSON object of a model folder. Raises NotAModel."""
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"it is larger than {_MAX_CONFIG_BYTES} bytes")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise NotAModel(f"{path.name} cannot be used: {error}.") from None
    return content


def is_embedder(folder: Path, model_type: str) -> bool:
    """An encoder, or a decoder that was made one: Qwen3-Embedding is of the type qwen3."""
    return model_type in ENCODER_TYPES or all((folder / n).is_file() for n in (MODULES, POOLING))


def classifies(config: Config) -> bool:
    """Whether it has a head for classes: of an encoder with one class, a reranker."""
    names = config.get("architectures")
    return isinstance(names, list) and any(
        isinstance(name, str) and name.endswith("ForSequenceClassification") for name in names
    )


def _check_labels(headers: Iterable[Header]) -> None:
    """A reranker is a classifier of one label. Raises NotAModel for those of several."""
    for tensor in (tensor for header in headers for tensor in header.tensors):
        if tensor.name in _LABELS and tensor.shape and tensor.shape[0] != 1:
            raise NotAModel(
                f"The model classifies: expected one label, as a reranker has, found "
                f"{tensor.shape[0]}. Classifiers of several labels are not served."
            )


def _quantization(config: Config) -> Config:
    quantization = config.get("quantization")
    return quantization if isinstance(quantization, dict) else {}


def _context_length(config: Config) -> int:
    text_config = config.get("text_config")
    for source in (config, text_config if isinstance(text_config, dict) else {}):
        for key in _CONTEXT_KEYS:
            if (value := _count(source.get(key))) is not None:
                return value
    return _DEFAULT_CONTEXT_LENGTH


def _num_params(headers: Iterable[Header], quantization: Config) -> int:
    """Parameters of the model, those in packed weights counted one by one."""
    tensors = {tensor.name: tensor for header in headers for tensor in header.tensors}
    total = 0
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        weight = tensors.get(f"{layer}.weight")
        is_packed = f"{layer}.scales" in tensors and weight is not None and weight.dtype == "U32"
        if not is_packed or part not in ("weight", "scales", "biases"):
            total += tensor.num_elements
        elif part == "scales":  # one for each group of weights
            total += tensor.num_elements * _group_size(layer, quantization)
    return total


def _group_size(layer: str, quantization: Config) -> int:
    own = quantization.get(layer)
    group_size = own.get("group_size") if isinstance(own, dict) else None
    return _count(group_size) or _count(quantization.get("group_size")) or 64


def _count(value: object) -> int | None:
    """A positive whole number, or None."""
    return value if type(value) is int and value > 0 else None
