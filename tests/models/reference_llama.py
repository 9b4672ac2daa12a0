"""A Llama in numpy, straight from a GGUF: the oracle of a model that was imported from one.

Nothing of it is ours or MLX's: gguf's own reader gives the numbers, rows of q and k stay in the
order of the file, and rope turns neighbours, as llama.cpp does it (LLAMA_ROPE_TYPE_NORM).
"""

from copy import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader
from gguf.quants import dequantize

Floats = npt.NDArray[np.float32]


class ReferenceLlama:
    """All weights in float32."""

    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)

        def number(name: str) -> float:
            return float(reader.fields[f"llama.{name}"].contents())

        self.weights: dict[str, Floats] = {
            tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors
        }
        self._num_layers = int(number("block_count"))
        self._num_heads = int(number("attention.head_count"))
        self._num_kv_heads = int(number("attention.head_count_kv"))
        self._epsilon = number("attention.layer_norm_rms_epsilon")
        self._base = number("rope.freq_base")

    def logits(self, tokens: list[int]) -> Floats:
        """(L, vocabulary): of the token after each of the `tokens`."""
        hidden = self.weights["token_embd.weight"][tokens]
        for layer in range(self._num_layers):
            block = f"blk.{layer}"
            hidden = hidden + self._attend(block, self._normed(hidden, f"{block}.attn_norm"))
            inner = self._normed(hidden, f"{block}.ffn_norm")
            gate = self._through(inner, f"{block}.ffn_gate")
            up = self._through(inner, f"{block}.ffn_up")
            hidden = hidden + self._through(gate / (1 + np.exp(-gate)) * up, f"{block}.ffn_down")
        head = "output" if "output.weight" in self.weights else "token_embd"
        return self._through(self._normed(hidden, "output_norm"), head)

    def changed(self, weights: dict[str, Floats]) -> "ReferenceLlama":
        """The same network with other weights, rows of q and k in the order of the file."""
        other = copy(self)
        other.weights = weights
        return other

    def loss(self, tokens: list[int]) -> float:
        """The mean of -ln p of each token but the first, given those before it."""
        logits = self.logits(tokens[:-1])
        logits -= logits.max(-1, keepdims=True)
        own = logits[np.arange(len(logits)), tokens[1:]]
        return float((np.log(np.exp(logits).sum(-1)) - own).mean())

    def _attend(self, block: str, hidden: Floats) -> Floats:
        q = self._rotated(self._through(hidden, f"{block}.attn_q"), self._num_heads)
        k = self._rotated(self._through(hidden, f"{block}.attn_k"), self._num_kv_heads)
        v = _heads(self._through(hidden, f"{block}.attn_v"), self._num_kv_heads)
        shared = self._num_heads // self._num_kv_heads
        k, v = k.repeat(shared, axis=0), v.repeat(shared, axis=0)
        scores = q @ k.swapaxes(1, 2) / np.float32(np.sqrt(q.shape[-1]))  # (heads, L, L)
        scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ v
        return self._through(mixed.swapaxes(0, 1).reshape(len(hidden), -1), f"{block}.attn_output")

    def _rotated(self, values: Floats, num_heads: int) -> Floats:
        heads = _heads(values, num_heads)
        half = heads.shape[-1] // 2
        turns = self._base ** (-np.arange(half) / half)
        angles = np.arange(len(values))[:, None] * turns  # (L, half)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        even, odd = heads[..., ::2], heads[..., 1::2]
        turned = np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
        return turned.reshape(heads.shape)

    def _through(self, values: Floats, name: str) -> Floats:
        found: Floats = values @ self.weights[f"{name}.weight"].T
        return found

    def _normed(self, values: Floats, name: str) -> Floats:
        size = np.sqrt(np.square(values).mean(-1, keepdims=True) + np.float32(self._epsilon))
        normed: Floats = values / size * self.weights[f"{name}.weight"]
        return normed


def _heads(values: Floats, num_heads: int) -> Floats:
    """(L, heads * d) to (heads, L, d)."""
    return values.reshape(len(values), num_heads, -1).swapaxes(0, 1)
