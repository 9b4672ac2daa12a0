"""What the engine asks of a model: the protocol that every architecture of mlx-lm follows."""

from collections.abc import Sequence
from typing import Protocol

import mlx.core as mx

from .cache.kv_cache import Cache


class LanguageModel(Protocol):
    """An `mlx_lm.models.*.Model`; or what a test puts around one."""

    @property
    def layers(self) -> Sequence[object]: ...

    def __call__(self, inputs: mx.array, cache: Cache) -> mx.array:
        """Token ids (B, L) to logits (B, L, vocab); their keys and values go to `cache`."""
        ...
