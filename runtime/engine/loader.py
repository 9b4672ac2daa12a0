"""A folder with config.json, tokenizer.json and *.safetensors, to a model and its tokenizer."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.quantized import QuantizedEmbedding
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes, get_total_parameters, load_model
from tokenizers import Tokenizer

from registry.checkpoint.attention import sight_of
from registry.checkpoint.encoder import EncoderConfig
from registry.checkpoint.encoders.reading import family_of
from registry.checkpoint.exactness import Exactness, Probed
from registry.checkpoint.fitted import fitted
from registry.checkpoint.kind import ENCODER_TYPES
from registry.checkpoint.kv_bits import NOT_QUANTISED, KvBits
from registry.checkpoint.model import Model
from registry.checkpoint.ranking import ranking_of
from registry.checkpoint.spelling import overrides
from registry.checkpoint.tokenizer.ends import end_token_ids
from registry.checkpoint.tokenizer.load import load as load_tokenizer
from runtime.engine_messages import ModelInfo

from . import device, mlx_lm_patches
from .cache.shape import shape_of
from .encoders import network_of
from .encoders.decoder import Decoder, load_lazily
from .encoders.dense import DenseSteps
from .encoders.encoder import Encoder, Network
from .language_model import LanguageModel
from .probe.probe import probe
from .probe.quantised import hold_quantised, refusal

logger = logging.getLogger(__name__)

_POSITIONS = ("wpe", "position_embedding_table", "position_embeddings")
_PIECE_BYTES = 64 << 20  # how much is read between two reports of progress


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What the engine loop works with."""

    model: LanguageModel
    tokenizer: Tokenizer
    eos_token_ids: frozenset[int]
    info: ModelInfo


class KvBitsRefused(ValueError):
    """The model's KV cache cannot be held in so many bits."""


def load(
    folder: Path,
    report: Callable[[int, int], None],
    known: Probed | None = None,
    *,
    kv_bits: KvBits | None = None,
    default_kv_bits: KvBits = NOT_QUANTISED,
) -> LoadedModel:
    """Load the weights, telling `report(loaded_bytes, total_bytes)` on the way.

    `known` is what an earlier load found out about it. Raises KvBitsRefused, ValueError or OSError
    when the folder is not a model that mlx-lm knows, or one that this machine cannot compute.
    """
    mlx_lm_patches.apply()
    # With `trust_remote_code` Python of the folder would be run.
    model, config = load_model(
        folder,
        lazy=True,
        model_config=overrides(folder),
        trust_remote_code=False,
        get_model_classes=_fitted_classes,
    )
    if (dtype := device.compute_dtype(config.get("compute_dtype"))) is not None:
        model.set_dtype(dtype)
    total = _load_weights(model, report=report)
    tokenizer = load_tokenizer(folder)
    num_embeddings = _num_embeddings(model) or tokenizer.get_vocab_size()
    probed = probe(model, config, num_embeddings, known)
    bits = _held(model, probed.exactness, num_embeddings, kv_bits, default_kv_bits)
    info = ModelInfo(
        model_type=str(config["model_type"]),
        vocab_size=num_embeddings,
        num_params=int(get_total_parameters(model)),
        weight_bytes=total,
        cache_shape=shape_of(model),
        process_bytes=device.process_bytes(),
        working_set_bytes=device.working_set_bytes(),
        probed=probed,
        kv_bits=bits,
        device=device.name(),
        fingerprint=device.fingerprint(),
    )
    return LoadedModel(model, tokenizer, end_token_ids(folder, tokenizer), info)


def _held(
    model: Module,
    exactness: Exactness,
    num_embeddings: int,
    wish: KvBits | None,
    default: KvBits,
) -> KvBits:
    """How many bits the model's caches are held in from now on.

    Raises KvBitsRefused for a wish; a default is for the models that can have it.
    """
    bits = default if wish is None else wish
    if bits == NOT_QUANTISED:
        return bits
    if (reason := refusal(model, exactness, num_embeddings)) is None:
        hold_quantised(model, bits)
        return bits
    if wish is None:
        logger.warning("the KV cache is not held in %d bits: %s", bits, reason)
        return NOT_QUANTISED
    raise KvBitsRefused(
        f"its KV cache cannot be held in {bits} bits: {reason}. Load it with kv_bits 16."
    )


def _fitted_classes(config: dict[str, Any]) -> tuple[type[Module], type]:
    base, arguments = _get_classes(config)
    return fitted(base), arguments


def load_encoder(model: Model, report: Callable[[int, int], None]) -> Encoder:
    """An embedding model or a reranker. Raises ValueError or OSError as `load` does."""
    config = EncoderConfig.of(model)
    network, module = _encoder_network(model, config)
    if (dtype := device.compute_dtype(model.config.get("compute_dtype"))) is not None:
        module.set_dtype(dtype)
    steps = DenseSteps(model.folder, config.modules.steps)
    total = _load_weights(module, steps, report=report)
    info = ModelInfo(
        model_type=model.model_type,
        vocab_size=network.num_embeddings,
        num_params=int(get_total_parameters(module)) + steps.num_params,
        weight_bytes=total,
        device=device.name(),
        fingerprint=device.fingerprint(),
        process_bytes=device.process_bytes(),
        working_set_bytes=device.working_set_bytes(),
        kind=config.kind,
        num_dimensions=config.num_dimensions,
        max_input_tokens=config.max_input_tokens,
    )
    return Encoder(network, steps, config, info)


def _encoder_network(model: Model, config: EncoderConfig) -> tuple[Network, Module]:
    """The network, its weights not read yet; and the module that holds them."""
    if model.model_type not in ENCODER_TYPES:
        module = load_lazily(model.folder)
        num_embeddings = _num_embeddings(module) or model.vocab_size or 0
        ranking = ranking_of(model.folder, model.config) if config.kind == "rerank" else None
        return Decoder(module, num_embeddings, sight_of(model.config), ranking), module
    family, has_head = family_of(model.config), config.kind == "rerank"
    network = network_of(family, has_head=has_head)
    weights: dict[str, mx.array] = {}
    for path in sorted(model.folder.glob("*.safetensors")):
        weights |= mx.load(str(path))  # type: ignore[arg-type]
    names = family.named(weights, has_head=has_head)
    named = {network.own_name(name): weights[full] for name, full in names.items()}
    if has_head:
        _check_labels(named)
    network.load_weights(list(named.items()))
    network.eval()
    return network, network


def _check_labels(weights: dict[str, mx.array]) -> None:
    for name in ("head.out.weight", "classifier.weight"):
        if name in weights and (num_labels := weights[name].shape[0]) != 1:
            raise ValueError(
                f"expected one label, as a reranker has, found {num_labels}: this is a classifier"
            )


def _load_weights(*modules: Module, report: Callable[[int, int], None]) -> int:
    """Load the weights, telling the progress. Returns their bytes."""
    weights: list[mx.array] = [value for module in modules for _, value in _flat(module)]
    total = sum(value.nbytes for value in weights)
    loaded = 0
    report(0, total)
    for piece in _pieces(weights):
        mx.eval(piece)
        loaded += sum(value.nbytes for value in piece)
        report(loaded, total)
    mx.clear_cache()  # what casting them left over
    device.wire(total)
    return total


def _num_embeddings(model: Module) -> int | None:
    """Rows of the token embedding: larger ids do not exist, whatever the tokenizer says."""
    rows = [
        int(module.weight.shape[0])
        for name, module in model.named_modules()
        if isinstance(module, (Embedding, QuantizedEmbedding)) and not name.endswith(_POSITIONS)
    ]
    return min(rows, default=None)


def _flat(model: Module) -> list[tuple[str, mx.array]]:
    flat: list[tuple[str, mx.array]] = tree_flatten(model.parameters())  # type: ignore[assignment]
    return flat


def _pieces(weights: list[mx.array]) -> Iterator[list[mx.array]]:
    piece: list[mx.array] = []
    size = 0
    for value in weights:
        piece.append(value)
        size += value.nbytes
        if size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
