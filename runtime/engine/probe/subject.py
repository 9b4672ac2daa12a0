"""The model as the probe asks it: its own weights, but short windows, few layers, float32."""

import copy
import operator
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.quantized import QuantizedEmbedding
from mlx_lm.models.cache import CacheList
from mlx_lm.utils import _get_classes

from registry.checkpoint.config import Config
from runtime.engine.cache import kv_cache
from runtime.engine.language_model import LanguageModel

WINDOW = 12  # tokens

# Attention to the last tokens only, in the words of mlx-lm's arguments. None shapes a weight.
_WINDOWS = frozenset(
    {
        *("sliding_window", "sliding_window_size", "attention_window_size", "window_size"),
        *("window_length", "loop_window_size", "attention_chunk_size", "index_topk"),
    }
)
# Attention to some blocks of tokens only: together they hold `WINDOW` tokens.
_BLOCKS = {"index_block_size": 4, "index_topk_blocks": 3}

_FEWEST_LAYERS = 2  # what one hands to the next is asked for as well
# How layers call their place. What follows from it is in their other settings.
_PLACES = frozenset({"layer_idx", "layer_id", "layer_index", "layer_num", "layer_number", "idx"})


def short_windowed(model: Module, config: Config) -> Module:
    """The same modules and weights under arguments whose windows a few tokens go past.

    Raises what mlx-lm raises where the arguments do not allow it, and ValueError where a window is
    left that nothing here knows.
    """
    model_class, arguments_class = _get_classes(copy.deepcopy(config))
    arguments = arguments_class.from_dict(copy.deepcopy(config))
    if _shorten(arguments):
        subject: Module = model_class(arguments)
        # Layers without others inside are taken as they are, quantised ones too.
        subject.update_modules(model.leaf_modules())
        subject.update(model.parameters())
        subject.eval()
    else:
        subject = model
    if longest := _longest_window(kv_cache.make(subject)):
        raise ValueError(f"a window of {longest} tokens cannot be shortened")
    return subject


def in_float32(model: Module) -> Module:
    """The model with its token embeddings cast, after which all else computes in float32 too.

    Weights are left as they are: a second copy of them would not fit beside the first.
    """
    subject: Module = _copied(model)
    names = [name for name, leaf in subject.named_modules() if _is_embedding(leaf)]
    for name in names:
        *path, last = name.split(".")
        parent: Any = subject
        for step in path:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        parent[last] = _cast(parent[last])
    return subject


def few_layered(model: Module) -> Module | None:
    """The model's first layers alone, as many as it takes to have one of every kind.

    Of the same kind are layers of the same modules, shapes and settings, with the same cache. None
    if that takes all of them, or if it cannot be told which cache is whose.
    """
    layers = list(cast(LanguageModel, model).layers)
    cache = kv_cache.make(model)
    if len(cache) != len(layers):
        return None
    pairs = zip(layers, cache, strict=True)
    kinds = [repr((_kind(layer), _cache_kind(own))) for layer, own in pairs]
    count = max(_FEWEST_LAYERS, *(kinds.index(kind) + 1 for kind in kinds))
    if count >= len(layers):
        return None
    subject: Any = _copied(model)
    subject.make_cache = lambda: kv_cache.make(model)[:count]
    for (_, module), (_, twin) in zip(model.named_modules(), subject.named_modules(), strict=True):
        for name, value in module.items():
            if isinstance(value, list) and _are_same(value, layers):
                twin[name] = twin[name][:count]
    return cast(Module, subject)


def _shorten(arguments: object) -> bool:
    """Shorten all windows in place. Returns whether there were any."""
    found = False
    pairs = (
        list(arguments.items())
        if isinstance(arguments, dict)
        else [(field.name, getattr(arguments, field.name)) for field in fields(arguments)]
        if is_dataclass(arguments)
        else []
    )
    for name, value in pairs:
        short = WINDOW if name in _WINDOWS else _BLOCKS.get(name)
        if short is not None and type(value) is int and value > short:
            found = True
            if isinstance(arguments, dict):
                arguments[name] = short
            else:
                setattr(arguments, name, short)
        elif isinstance(value, dict) or is_dataclass(value):
            found |= _shorten(value)
    return found


def _longest_window(cache: Sequence[object]) -> int:
    """The longest window that is longer than asked for; 0 if none is."""
    longest = 0
    for layer in cache:
        if isinstance(layer, CacheList):
            longest = max(longest, _longest_window(layer.caches))
        elif (size := getattr(layer, "max_size", 0)) > WINDOW:
            longest = max(longest, size)
    return longest


def _kind(value: object) -> object:
    """What is the same for layers that differ in their numbers only."""
    if isinstance(value, mx.array):
        return value.shape, str(value.dtype)
    if isinstance(value, Module):
        settings = {name: item for name, item in vars(value).items() if name not in _PLACES}
        return type(value), _kind(dict(value)), _kind(settings)
    if isinstance(value, dict):
        return [(name, _kind(item)) for name, item in value.items()]
    if isinstance(value, list | tuple):
        return [_kind(item) for item in value]
    return value if isinstance(value, str | int | float | None) else type(value)


def _cache_kind(layer: object) -> object:
    if isinstance(layer, CacheList):
        return [_cache_kind(cache) for cache in layer.caches]
    return type(layer), getattr(layer, "max_size", None)


def _are_same(modules: Sequence[object], layers: Sequence[object]) -> bool:
    return len(modules) == len(layers) and all(map(operator.is_, modules, layers))


def _copied(value: Any) -> Any:
    """Modules and lists of them copied, the arrays in them shared."""
    if isinstance(value, Module):
        twin = copy.copy(value)
        for name, child in value.items():
            twin[name] = _copied(child)
        return twin
    if isinstance(value, list):
        return [_copied(child) for child in value]
    if isinstance(value, dict):
        return {name: _copied(child) for name, child in value.items()}
    return value


def _is_embedding(module: Module) -> bool:
    return isinstance(module, (Embedding, QuantizedEmbedding))


def _cast(embedding: Any) -> Any:
    """The embedding, which looks up in its own type and answers in float32."""

    class InFloat32(type(embedding)):  # type: ignore[misc]
        def __call__(self, tokens: mx.array) -> mx.array:
            return super().__call__(tokens).astype(mx.float32)  # type: ignore[no-any-return]

    twin = copy.copy(embedding)
    twin.__class__ = InFloat32
    return twin
