"""What mlx-lm's modules get wrong and can be put right from outside, until they are.

Whether a patch fits is not believed: the probe asks the patched module like any other.
"""

import math
import sys
from functools import cache
from typing import Any

import mlx.core as mx
from mlx.nn.layers.activations import gelu_approx
from mlx.nn.layers.base import Module
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.models import (
    gemma,
    gemma2,
    granitemoehybrid,
    jamba,
    nemotron_h,
    phi3small,
    rope_utils,
    starcoder2,
)

_SELECTION_BIASES = ("e_score_correction_bias", ".gate.expert_bias")


@cache
def apply() -> None:
    """Before the first model is made; once per process is enough."""
    _gemma2_masks()
    _nemotron_h_lengths()
    _activations()
    _jamba_weights()
    _scaled_positions()
    _phi3_small_tokens()


def lift_selection_biases(model: Module) -> None:
    """Add to the biases by which experts are chosen what makes all of them positive.

    The choice is the same, and no weight depends on them. But experts of groups that are left out
    count as 0 in mlx-lm, and would win against those whose bias makes them negative.
    """
    flat: Any = tree_flatten(model.parameters())
    lifted = [
        (name, bias - mx.minimum(bias.min(), 0.0))
        for name, value in flat
        if name.endswith(_SELECTION_BIASES)
        for bias in (value.astype(mx.float32),)
    ]
    model.update(tree_unflatten(lifted))


def _activations() -> None:
    """All Gemmas and StarCoder 2 are trained with the approximation of GELU, not with GELU."""

    def gemma_mlp(self: Any, x: mx.array) -> mx.array:
        hidden: mx.array = self.down_proj(gelu_approx(self.gate_proj(x)) * self.up_proj(x))
        return hidden

    def starcoder2_mlp(self: Any, x: mx.array) -> mx.array:
        hidden: mx.array = self.c_proj(gelu_approx(self.c_fc(x)))
        return hidden

    gemma_class: Any = gemma.MLP
    starcoder2_class: Any = starcoder2.MLP
    gemma_class.__call__, starcoder2_class.__call__ = gemma_mlp, starcoder2_mlp


def _jamba_weights() -> None:
    """Jamba weighs its experts by their share among all of them, not among the chosen ones."""

    def weighed(self: Any, x: mx.array) -> mx.array:
        shares = mx.softmax(self.router(x), axis=-1, precise=True)
        last = self.num_experts_per_tok - 1
        chosen = mx.argpartition(-shares, kth=last, axis=-1)[..., : last + 1]
        weights = mx.take_along_axis(shares, chosen, axis=-1)
        hidden: mx.array = (self.switch_mlp(x, chosen) * weights[..., None]).sum(axis=-2)
        return hidden

    block: Any = jamba.JambaSparseMoeBlock
    block.__call__ = weighed


def _scaled_positions() -> None:
    """What `initialize_rope` leaves out of YaRN and LongRoPE, though config.json says it: a factor
    of attention, LongRoPE's own factor, and bounds that are not rounded (gpt-oss). As in
    transformers' modeling_rope_utils.py."""
    initialize = rope_utils.initialize_rope

    def initialize_rope(
        dims: int,
        base: float,
        traditional: bool,
        scaling_config: dict[str, Any] | None = None,
        max_position_embeddings: int | None = None,
    ) -> Any:
        rope = initialize(dims, base, traditional, scaling_config, max_position_embeddings)
        said = scaling_config or {}
        attention = said.get("attention_factor")
        if isinstance(rope, rope_utils.YarnRoPE):
            if said.get("truncate") is False:
                rope._freqs = _unrounded_yarn(dims, base, said)
            if attention is not None:
                rope.mscale = attention
        elif isinstance(rope, rope_utils.SuScaledRoPE):
            factor = said.get("factor")
            if attention is None and factor is not None:
                length = math.log(said["original_max_position_embeddings"])
                attention = math.sqrt(1 + math.log(factor) / length) if factor > 1 else 1.0
            if attention is not None:
                rope._scale = attention
        return rope

    for name, module in list(sys.modules.items()):
        if name.startswith("mlx_lm.models.") and hasattr(module, "initialize_rope"):
            module.initialize_rope = initialize_rope  # type: ignore[attr-defined]


def _unrounded_yarn(dims: int, base: float, said: dict[str, Any]) -> mx.array:
    """YaRN's wave lengths (dims / 2), mixed between bounds that are not whole numbers."""
    length = said.get("original_max_position_embeddings", 4096)
    low, high = (
        dims * math.log(length / (rotations * 2 * math.pi)) / (2 * math.log(base))
        for rotations in (said.get("beta_fast") or 32, said.get("beta_slow") or 1)
    )
    low, high = max(low, 0), min(high, dims - 1)
    ramp = (mx.arange(dims // 2) - low) / (high - low if high != low else 0.001)
    share = mx.clip(ramp, 0, 1)  # of the interpolated frequency
    freqs = base ** (mx.arange(0, dims, 2) / dims)
    lengths: mx.array = freqs / (share / said["factor"] + 1 - share)
    return lengths


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
