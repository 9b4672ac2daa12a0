"""What one pass of a language model over a chunk of a prompt takes, by its config.json.

Measured, as `forward_pass` says it of encoders: of each token four times the inner size and ten
times its own, fourteen where there are convolutions; a state-space model has matrices between the
tokens of a block besides. Scores are written down on a CPU, and on Metal for heads that its fused
kernel does not know.
"""

from collections.abc import Mapping

from registry.checkpoint.config import MISREAD

from . import machine
from .layers.arguments import Arguments
from .layers.kinds import kinds_of
from .layers.states import mamba_head_size, mamba_heads, mamba_state_size

CHUNK_TOKENS = 512  # of prompts, read in one pass
_FUSED = frozenset({64, 80, 128})  # sizes of heads, of MLX's attention over more than a token
_BLOCK = 256  # tokens that a state-space model computes at once (mlx-lm's ssm_attn)
_SCORES = 1.1  # with what is made of keys and values for them
_INNER = ("intermediate_size", "ffn_hidden_size", "ff_intermediate_size", "n_inner", "d_inner")
_EXPERT = ("moe_intermediate_size", "expert_ffn_hidden_size", *_INNER)
_EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k")


def chunk_pass(config: Mapping[str, object], number_bytes: int) -> tuple[int, int]:
    """Bytes of a whole chunk, and the further bytes for each token of the row until its end.

    Raises ValueError where config.json says too little.
    """
    try:
        model = Arguments(config)
        own = 14 if "state" in kinds_of(model) else 10
        numbers = own * model.size + _inner(model) + _blocks(model)
        return CHUNK_TOKENS * numbers * number_bytes, _per_token(model, number_bytes)
    except MISREAD as error:
        raise ValueError(f"config.json does not tell what a pass takes: {error}") from None


def _inner(model: Arguments) -> int:
    """Numbers of a token in the widest of the MLPs."""
    dense = 4 * (model.number(*_INNER) or 4 * model.size)
    chosen = model.number(*_EXPERTS_PER_TOKEN)
    if chosen is None:
        return dense
    expert = model.number(*_EXPERT) or 4 * model.size
    return max(dense, chosen * (4 * expert + 2 * model.size))


def _blocks(model: Arguments) -> int:
    """Numbers of a token in the matrices of a state-space model, of each of its heads."""
    if (heads := mamba_heads(model)) is None:
        return 0
    return heads * (2 * _BLOCK + 6 * mamba_head_size(model) + 16 * mamba_state_size(model))


def _per_token(model: Arguments, number_bytes: int) -> int:
    if model.architecture in ("mamba", "mamba2", "rwkv7"):
        return 0
    is_fused = model.head_size in _FUSED and model.number("kv_lora_rank") is None
    if machine.keeps_half_precision() and is_fused:
        return 0
    scores = int(_SCORES * CHUNK_TOKENS * model.num_heads * number_bytes)
    return scores + CHUNK_TOKENS  # a byte of a mask for each
