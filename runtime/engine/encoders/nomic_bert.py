"""nomic-bert: nomic-embed-text v1 and v1.5. Rotary positions and a gated MLP."""

from collections.abc import Iterator

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.linear import Linear
from mlx.nn.layers.normalization import LayerNorm

from registry.checkpoint.encoders.nomic_bert import NomicBertConfig

from .attention import ACTIVATIONS, Pack, attend, mask_of, rotate, split_heads


class Attention(Module):
    def __init__(self, config: NomicBertConfig) -> None:
        super().__init__()
        size = config.n_embd
        self.num_heads = config.n_head
        self.num_rotated = int(size // config.n_head * config.rotary_emb_fraction)
        self.base = config.rotary_emb_base
        self.Wqkv = Linear(size, 3 * size, bias=config.qkv_proj_bias)
        self.out_proj = Linear(size, size, bias=config.qkv_proj_bias)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        queries, keys, values = (
            split_heads(part, self.num_heads) for part in mx.split(self.Wqkv(x), 3, axis=-1)
        )
        queries = rotate(queries, self.base, self.num_rotated)
        keys = rotate(keys, self.base, self.num_rotated)
        return self.out_proj(attend(queries, keys, values, mask))


class GatedMlp(Module):
    def __init__(self, config: NomicBertConfig) -> None:
        super().__init__()
        size, inner = config.n_embd, config.inner_size
        self.fc11 = Linear(size, inner, bias=config.mlp_fc1_bias)
        self.fc12 = Linear(size, inner, bias=config.mlp_fc1_bias)  # the gate
        self.fc2 = Linear(inner, size, bias=config.mlp_fc2_bias)
        name = "silu" if config.activation_function == "swiglu" else "gelu"
        self.activation = ACTIVATIONS[name]

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(self.fc11(x) * self.activation(self.fc12(x)))


class Layer(Module):
    """Attention and MLP, each added to its input and then normalised."""

    def __init__(self, config: NomicBertConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.norm1 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = GatedMlp(config)
        self.norm2 = LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        x = self.norm1(x + self.attn(x, mask))
        return self.norm2(x + self.mlp(x))


class Embeddings(Module):
    def __init__(self, config: NomicBertConfig) -> None:
        super().__init__()
        self.word_embeddings = Embedding(config.num_rows, config.n_embd)
        if config.type_vocab_size:
            self.token_type_embeddings = Embedding(config.type_vocab_size, config.n_embd)

    def __call__(self, pack: Pack) -> mx.array:
        words = self.word_embeddings(pack.tokens)
        if "token_type_embeddings" not in self:
            return words
        return words + self.token_type_embeddings(pack.segments)


class NomicBert(Module):
    """`states` yields the hidden states of each layer."""

    def __init__(self, config: NomicBertConfig, *, has_head: bool) -> None:
        super().__init__()
        assert not has_head
        self.embeddings = Embeddings(config)
        self.emb_ln = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.layers = [Layer(config) for _ in range(config.n_layer)]
        self.has_segments = config.type_vocab_size > 1

    @property
    def num_embeddings(self) -> int:
        return int(self.embeddings.word_embeddings.weight.shape[0])

    def states(self, pack: Pack) -> Iterator[mx.array]:
        x = self.emb_ln(self.embeddings(pack))
        mask = mask_of(pack.key_mask(), x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
            yield x

    def scores(self, hidden: mx.array, pack: Pack) -> mx.array:
        raise NotImplementedError

    def own_name(self, name: str) -> str:
        """What a tensor of the family is called here."""
        return name.removeprefix("encoder.")
