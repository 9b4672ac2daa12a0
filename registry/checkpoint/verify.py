"""Whether a folder is a model that can be served, read in pure Python: no native reader is trusted.

Called by the job process, which then has `convert.trial` load what was found sound.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import msgspec

from registry.errors import NotAModel

from . import chat_template, lfs, shards
from .config import Config, positive, read_config
from .context import context_length
from .encoders import reading
from .kind import ENCODER_TYPES, kind_in
from .sampling import Recommended, recommended_in
from .support import check_config, with_packing
from .tokenizer import classes
from .weights import Header, quote

_LABELS = ("classifier.weight", "classifier.out_proj.weight")  # these have a row for each label
_UNREAD = ("F8_E5M2", "F64", "C64")
_FLOATS = ("F32", "F16", "BF16")
_INDICES = ("position_ids", "token_type_ids", "num_batches_tracked")  # which encoders count anew


class Verified(msgspec.Struct, frozen=True):
    """What is known of a folder that passed verification."""

    kind: str  # "llm" or "embed"
    model_type: str
    context_length: int
    num_params: int
    size_bytes: int  # of the weight files
    bits: int | None  # None: not quantised
    verified_at: float  # unix seconds
    is_reranker: bool = False  # it scores a query and a document
    has_chat_template: bool | None = None  # None: verified before this was recorded
    sampling: Recommended | None = None  # None: verified before this was recorded
    weights: tuple[str, ...] = ()  # what became of the source's, if they were just converted


def verify(folder: Path) -> Verified:
    """Check config, shards and index, and that a tokenizer is there.

    Raises NotAModel, BrokenWeights.
    """
    lfs.check_folder(folder)
    config = read_config(folder)
    check_config(with_packing(config, folder))
    paths = shards.find(folder)
    headers = shards.check(folder, paths)
    _check_types(headers.values(), is_encoder=config["model_type"] in ENCODER_TYPES)
    classes.check(folder)
    model_type = cast(str, config["model_type"])
    quantization = _quantization(config)
    kind = kind_in(folder, config)
    if kind == "rerank" and model_type in ENCODER_TYPES:
        _check_labels(headers.values())
    longest = context_length(config, folder)
    if model_type in ENCODER_TYPES:
        reading.check_tensors(config, (t for h in headers.values() for t in h.tensors))
        longest = reading.family_of(config).max_tokens
    return Verified(
        kind="llm" if kind == "llm" else "embed",
        model_type=model_type,
        context_length=longest,
        num_params=_num_params(headers.values(), quantization),
        size_bytes=sum(path.stat().st_size for path in paths),
        bits=positive(quantization.get("bits")),
        verified_at=time.time(),
        is_reranker=kind == "rerank",
        has_chat_template=chat_template.exists(folder),
        sampling=recommended_in(folder),
    )


def _check_types(headers: Iterable[Header], *, is_encoder: bool) -> None:
    """Raises NotAModel for numbers that MLX cannot read, or that an encoder does not compute with.

    Of a language model, `fitted` sees what its architecture makes of the rest.
    """
    for tensor in (tensor for header in headers for tensor in header.tensors):
        is_wrong = is_encoder and tensor.dtype not in _FLOATS and not tensor.name.endswith(_INDICES)
        if tensor.dtype in _UNREAD or is_wrong:
            raise NotAModel(
                f"Tensor {quote(tensor.name)} is of type {tensor.dtype}, which is not computed "
                "here; choose the repository of the original weights."
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


def _num_params(headers: Iterable[Header], quantization: Config) -> int:
    """Parameters of the model; a packed weight counts as all that it holds."""
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
    return positive(group_size) or positive(quantization.get("group_size")) or 64
