"""What mlx-lm's modules get wrong and can be put right from outside, until they are.

Whether a patch fits is not believed: the probe asks the patched module like any other.
"""

from functools import cache
from typing import Any

import mlx.core as mx
from mlx_lm.models import gemma2, granitemoehybrid, nemotron_h, phi3small


@cache
def apply() -> None:
    """Before the first model is made; once per process is enough."""
    _gemma2_masks()
    _nemotron_h_lengths()
    _phi3_small_tokens()


def _gemma2_masks() -> None:
    """Gemma 2's scores have an axis for its KV heads and one for the queries of each, and the mask
    of several rows has one axis for both: it is refused, or taken for another row's where there
    are as many rows as KV heads (mlx-lm pull request 1903)."""
    module: Any = gemma2
    create = module.create_attention_mask

    def with_both_axes(*args: Any, **kwargs: Any) -> Any:
        mask = create(*args, **kwargs)
        is_of_rows = isinstance(mask, mx.array) and mask.ndim == 4
        return mx.expand_dims(mask, 2) if is_of_rows else mask

    module.create_attention_mask = with_both_axes


def _nemotron_h_lengths() -> None:
    """Nemotron-H's mixer does not tell its state update where each prompt ends, so the state of a
    padded one is that of its padding. Granite's is the same, line for line, and does."""
    mixer: Any = nemotron_h.NemotronHMamba2Mixer
    mixer._ssm = granitemoehybrid.GraniteMoeHybridMamba2Mixer._ssm


def _phi3_small_tokens() -> None:
    """Phi-3 small rules tokens out by their ids in the original's vocabulary; where a smaller one
    has no such tokens, that is memory behind the logits."""
    model: Any = phi3small.Model
    create = model.__init__

    def with_tokens_that_exist(self: Any, args: Any) -> None:
        create(self, args)
        ids = [id for id in self._dummy_tokenizer_ids.tolist() if id < args.vocab_size]
        self._dummy_tokenizer_ids = mx.array(ids, dtype=mx.int32)

    model.__init__ = with_tokens_that_exist
