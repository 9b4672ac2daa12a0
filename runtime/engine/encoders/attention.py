"""What the encoders share: one pack of inputs, attention in both directions, activations."""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
from mlx.nn.layers.activations import gelu, gelu_approx, relu, silu

_QUERY_CHUNK = 1024  # all scores at once of 8,192 tokens and 12 heads would take 3 GB

# By the names of transformers; `registry.checkpoint.encoders.family.ACTIVATIONS` has the same.
ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_fast": gelu_approx,
    "gelu_new": gelu_approx,
    "gelu_pytorch_tanh": gelu_approx,
    "relu": relu,
    "silu": silu,
    "swish": silu,
}


@dataclass(frozen=True, slots=True)
class Pack:
    """Inputs that are read together, one a row, padded on the right."""

    tokens: mx.array  # rows x longest
    segments: mx.array  # 1 for the second text of a pair
    lengths: mx.array  # of the rows

    @property
    def is_real(self) -> mx.array:
        """Rows x longest: False where a row is padded."""
        return mx.arange(self.tokens.shape[1]) < self.lengths[:, None]

    def key_mask(self) -> mx.array:
        """Rows x 1 x 1 x longest: no query may look at padding."""
        return self.is_real[:, None, None, :]


def split_heads(x: mx.array, num_heads: int) -> mx.array:
    """Rows x length x size, to rows x heads x length x head size."""
    rows, length, size = x.shape
    return x.reshape(rows, length, num_heads, size // num_heads).transpose(0, 2, 1, 3)


def mask_of(may_see: mx.array, dtype: mx.Dtype, bias: mx.array | None = None) -> mx.array:
    """What is added to the scores of heads x queries x keys, as `may_see` and `bias` broadcast."""
    # Not -inf: a padded query that sees nothing would be NaN, and spoil the next layer's keys.
    hidden = mx.array(mx.finfo(dtype).min / 2, dtype)
    return mx.where(may_see, mx.array(0, dtype) if bias is None else bias.astype(dtype), hidden)


def attend(queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array) -> mx.array:
    """Attention of split heads, joined again. `mask` broadcasts to heads x queries x keys."""
    rows, heads, length, size = queries.shape
    parts = []
    for start in range(0, length, _QUERY_CHUNK):
        end = start + _QUERY_CHUNK
        part_mask = mask if mask.shape[-2] == 1 else mask[..., start:end, :]
        parts.append(
            mx.fast.scaled_dot_product_attention(
                queries[:, :, start:end], keys, values, scale=size**-0.5, mask=part_mask
            )
        )
        if length > _QUERY_CHUNK:  # one after the other, or all take their memory at once
            mx.eval(parts[-1])
    joined = parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=2)
    return joined.transpose(0, 2, 1, 3).reshape(rows, length, heads * size)


def rotate(x: mx.array, base: float, num_rotated: int) -> mx.array:
    """Rotary positions from 0, on the first `num_rotated` of each head."""
    return mx.fast.rope(x, num_rotated, traditional=False, base=base, scale=1.0, offset=0)
