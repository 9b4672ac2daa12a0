"""Embedders that are language models, as Qwen3-Embedding is: mlx-lm's, without their head."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx_lm.utils import _get_classes, load_model

from runtime.engine.cache import kv_cache

from .attention import Pack

_CHUNK_TOKENS = 2048  # read at once: between two chunks the engine answers its heartbeat


class Decoder:
    """A token sees only those before it, so no mask is needed for padding on the right."""

    has_segments = False

    def __init__(self, model: Module, vocab_size: int) -> None:
        if not hasattr(model, "model"):
            raise ValueError("an embedder of this architecture is not supported: no hidden states")
        self.module = model
        self.num_embeddings = vocab_size

    def states(self, pack: Pack) -> Iterator[mx.array]:
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

    def scores(self, hidden: mx.array, pack: Pack) -> mx.array:
        raise NotImplementedError


def load_lazily(folder: Path) -> Module:
    """The model of a folder, its weights not read yet. Raises ValueError or OSError."""
    model, _ = load_model(
        folder, lazy=True, trust_remote_code=False, get_model_classes=_headless_classes
    )
    return model


def _headless_classes(config: dict[str, Any]) -> tuple[type[Module], type]:
    """mlx-lm's class without its head, for checkpoints whose tensor names may lack "model."."""
    base, arguments = _get_classes(config)

    class Headless(base):  # type: ignore[misc, valid-type]
        def __init__(self, args: object) -> None:
            super().__init__(args)
            self.pop("lm_head", None)

        def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
            if not any(name.startswith("model.") for name in weights):
                weights = {f"model.{name}": value for name, value in weights.items()}
            if hasattr(base, "sanitize"):
                weights = super().sanitize(weights)
            return {k: value for k, value in weights.items() if not k.startswith("lm_head.")}

    return Headless, arguments
