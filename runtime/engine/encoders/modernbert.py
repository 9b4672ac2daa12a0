"""ModernBERT: rotary positions, gated MLP, pre-norm; most layers attend to nearby tokens only."""

from collections.abc import Iterator

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.linear import Linear
from mlx.nn.layers.normalization import LayerNorm

from registry.checkpoint.encoders.modernbert import LOCAL, ModernBertConfig

from .attention import ACTIVATIONS, Pack, attend, mask_of, rotate, split_heads
from .pooling import mean


class Attention(Module):
    def __init__(self, config: ModernBertConfig, base: float) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.base = base
        self.Wqkv = Linear(size, 3 * size, bias=config.attention_bias)
        self.Wo = Linear(size, size, bias=config.attention_bias)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        queries, keys, values = (
            split_heads(part, self.num_heads) for part in mx.split(self.Wqkv(x), 3, axis=-1)
        )
        head_size = queries.shape[-1]
        queries, keys = (rotate(part, self.base, head_size) for part in (queries, keys))
        return self.Wo(attend(queries, keys, values, mask))


class GatedMlp(Module):
    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        size, inner = config.hidden_size, config.intermediate_size
        self.Wi = Linear(size, 2 * inner, bias=config.mlp_bias)
        self.Wo = Linear(inner, size, bias=config.mlp_bias)
        self.activation = ACTIVATIONS[config.hidden_activation]

    def __call__(self, x: mx.array) -> mx.array:
        up, gate = mx.split(self.Wi(x), 2, axis=-1)
        return self.Wo(self.activation(up) * gate)


class Layer(Module):
    def __init__(self, config: ModernBertConfig, index: int) -> None:
        super().__init__()
        self.layer_type = config.layer_type(index)
        if index:  # the first layer's input is normalised already
            self.attn_norm = _norm(config)
        self.attn = Attention(config, config.rope_theta(self.layer_type))
        self.mlp_norm = _norm(config)
        self.mlp = GatedMlp(config)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        normed = self.attn_norm(x) if "attn_norm" in self else x
        x = x + self.attn(normed, mask)
        return x + self.mlp(self.mlp_norm(x))


class Embeddings(Module):
    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.tok_embeddings = Embedding(config.vocab_size, config.hidden_size)
        self.norm = _norm(config)

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.norm(self.tok_embeddings(tokens))


class Head(Module):
    """What comes before the classifier."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.dense = Linear(size, size, bias=config.classifier_bias)
        self.norm = _norm(config)
        self.activation = ACTIVATIONS[config.classifier_activation]

    def __call__(self, pooled: mx.array) -> mx.array:
        return self.norm(self.activation(self.dense(pooled)))


class ModernBert(Module):
    """`states` yields the hidden states of each layer, and those of the last one normalised."""

    def __init__(self, config: ModernBertConfig, *, has_head: bool) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.layers = [Layer(config, index) for index in range(config.num_hidden_layers)]
        self.final_norm = _norm(config)
        self.reach = config.local_attention // 2
        self.has_segments = False
        self.averages = config.classifier_pooling == "mean"
        if has_head:
            self.head = Head(config)
            self.classifier = Linear(config.hidden_size, 1)

    @property
    def num_embeddings(self) -> int:
        return int(self.embeddings.tok_embeddings.weight.shape[0])

    def states(self, pack: Pack) -> Iterator[mx.array]:
        x = self.embeddings(pack.tokens)
        places = mx.arange(pack.tokens.shape[1])
        is_near = mx.abs(places[:, None] - places) <= self.reach
        everywhere = mask_of(pack.key_mask(), x.dtype)
        nearby = mask_of(pack.key_mask() & is_near, x.dtype)
        for layer in self.layers:
            x = layer(x, nearby if layer.layer_type == LOCAL else everywhere)
            yield x
        yield self.final_norm(x)

    def scores(self, hidden: mx.array, pack: Pack) -> mx.array:
        pooled = mean(hidden, pack) if self.averages else hidden[:, 0]
        return self.classifier(self.head(pooled))[:, 0]

    def own_name(self, name: str) -> str:
        """What a tensor of the family is called here: the same."""
        return name


def _norm(config: ModernBertConfig) -> LayerNorm:
    return LayerNorm(config.hidden_size, config.norm_eps, bias=config.norm_bias)
