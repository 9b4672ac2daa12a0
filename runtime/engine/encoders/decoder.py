"""Embedders and rerankers that are language models, as Qwen3-Embedding is: mlx-lm's models.

Most look back as they do when they generate. Some were trained to look both ways (gte-Qwen2,
EmbeddingGemma): `registry.checkpoint.attention` tells which, and how far.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.linear import Linear
from mlx_lm.utils import _get_classes, load_model

from registry.checkpoint.attention import Sight
from registry.checkpoint.fitted import fitted
from registry.checkpoint.headless import class_of
from registry.checkpoint.ranking import Ranking
from registry.checkpoint.spelling import overrides
from runtime.engine.cache import kv_cache

from .attention import Pack

_CHUNK_TOKENS = 2048  # read at once: between two chunks the engine answers its heartbeat
_QUERY_CHUNK = 1024  # two ways, all scores of 8,192 tokens and 12 heads would take 3 GB


class Decoder:
    """A language model's hidden states, and of a reranker the logits that score."""

    has_segments = False

    def __init__(
        self, model: Module, vocab_size: int, sight: Sight, ranking: Ranking | None = None
    ) -> None:
        if not hasattr(model, "model"):
            raise ValueError("an embedder of this architecture is not supported: no hidden states")
        self.module = model
        self.num_embeddings = vocab_size
        self._sight = sight
        self._ranking = ranking

    def states(self, pack: Pack) -> Iterator[mx.array]:
        return self._two_way(pack) if self._sight.is_two_way else self._causal(pack)

    def _causal(self, pack: Pack) -> Iterator[mx.array]:
        """A token sees only those before it, so no mask is needed for padding on the right."""
        rows, length = pack.tokens.shape
        chunk = max(1, _CHUNK_TOKENS // rows)
        if length <= chunk:
            yield self.module.model(pack.tokens)
            return
        cache = kv_cache.make(self.module)
        parts = []
        for start in range(0, length, chunk):
            parts.append(self.module.model(pack.tokens[:, start : start + chunk], cache=cache))
            yield parts[-1]
        yield mx.concatenate(parts, axis=1)

    def _two_way(self, pack: Pack) -> Iterator[mx.array]:
        """Layer by layer: none needs a cache, for each is given all tokens."""
        inner: Any = self.module.model
        hidden = inner.embed_tokens(pack.tokens)
        if self._sight.window is not None:  # Gemma; mlx-lm rounds this to bfloat16, it does not
            hidden = hidden * mx.array(hidden.shape[-1] ** 0.5, hidden.dtype)
        for layer in inner.layers:
            is_sliding = getattr(layer.self_attn, "is_sliding", False)
            hidden = _see_all(layer, hidden, pack, self._sight.window if is_sliding else None)
            yield hidden
        yield inner.norm(hidden)

    def scores(self, hidden: mx.array, pack: Pack) -> mx.array:
        """By the logits behind each prompt's last token: one for each row."""
        assert self._ranking is not None
        last = hidden[mx.arange(hidden.shape[0]), pack.lengths - 1]
        logits = self._head(last).astype(mx.float32)
        score = logits[:, self._ranking.true]
        return score if self._ranking.false is None else score - logits[:, self._ranking.false]

    def _head(self, states: mx.array) -> mx.array:
        module: Any = self.module
        for name in ("score", "lm_head"):
            if name in module:
                return mx.array(module[name](states))
        return mx.array(module.model.embed_tokens.as_linear(states))


class _Seen:
    """What a layer of mlx-lm takes for its cache: all keys and values, from both sides."""

    def __init__(self) -> None:
        self.offset = 0  # position of the first token that is asked about
        self._parts: list[tuple[mx.array, mx.array]] = []
        self._all: tuple[mx.array, mx.array] | None = None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        if self._all is not None:
            return self._all
        self._parts.append((keys, values))
        return keys, values

    def close(self) -> None:
        """Nothing is added from here on: every query sees all that was."""
        keys, values = zip(*self._parts, strict=True)
        self._all = mx.concatenate([*keys], axis=2), mx.concatenate([*values], axis=2)
        self._parts = []
        mx.eval(*self._all)


def _see_all(layer: Module, hidden: mx.array, pack: Pack, window: int | None) -> mx.array:
    """One layer in both directions; of a long pack, some queries after the other."""
    length = hidden.shape[1]
    if length <= _QUERY_CHUNK:
        return mx.array(layer(hidden, _may_see(pack, 0, length, window), None))
    seen, parts = _Seen(), []
    starts = range(0, length, _QUERY_CHUNK)
    for start in starts:  # lazily: nothing but keys and values is ever computed of this
        seen.offset = start
        layer(hidden[:, start : start + _QUERY_CHUNK], None, seen)
    seen.close()
    for start in starts:
        seen.offset, end = start, min(length, start + _QUERY_CHUNK)
        may_see = _may_see(pack, start, end, window)
        parts.append(layer(hidden[:, start:end], may_see, seen))
        mx.eval(parts[-1])  # one after the other, or all scores take their memory at once
    return mx.concatenate(parts, axis=1)


def _may_see(pack: Pack, start: int, end: int, window: int | None) -> mx.array:
    """Rows x 1 x queries from `start` to `end` x keys: True where a token sees another."""
    may_see = pack.key_mask()
    if window is not None:
        places = mx.arange(pack.tokens.shape[1])
        may_see = may_see & (mx.abs(places[start:end, None] - places) < window)
    # A padded query sees all: one that saw nothing would be NaN, and spoil the next layer's keys.
    return may_see | ~pack.is_real[:, None, start:end, None]


def load_lazily(folder: Path) -> Module:
    """The model of a folder, its weights not read yet. Raises ValueError or OSError."""

    def classes(config: dict[str, Any]) -> tuple[type[Module], type]:
        base, arguments = _get_classes(config)
        built = class_of(base, folder, config, partial(Linear, bias=False))
        return fitted(built), arguments

    model, _ = load_model(
        folder,
        lazy=True,
        model_config=overrides(folder),
        trust_remote_code=False,
        get_model_classes=classes,
    )
    return model
