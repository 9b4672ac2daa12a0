"""BERT: MiniLM, bge, e5, gte, and cross-encoders of its kind."""

from collections.abc import Callable, Iterator

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.linear import Linear
from mlx.nn.layers.normalization import LayerNorm

from registry.checkpoint.encoders.bert import BertConfig
from registry.checkpoint.encoders.family import Family

from .attention import ACTIVATIONS, Pack, attend, mask_of, split_heads

# Pieces of a checkpoint's tensor names, and what replaces them here, in this order.
_RENAMED = (
    ("encoder.layer.", "layers."),
    ("attention.self.", "attention."),
    ("attention.output.dense", "attention.output"),
    ("attention.output.LayerNorm", "attention_norm"),
    ("intermediate.dense", "up"),
    ("output.dense", "down"),
    ("output.LayerNorm", "output_norm"),
)


class Attention(Module):
    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = Linear(size, size)
        self.key = Linear(size, size)
        self.value = Linear(size, size)
        self.output = Linear(size, size)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        queries, keys, values = (
            split_heads(project(x), self.num_heads)
            for project in (self.query, self.key, self.value)
        )
        return self.output(attend(queries, keys, values, mask))


class Layer(Module):
    """Attention and MLP, each added to its input and then normalised."""

    def __init__(self, family: Family, eps: float, activation: str) -> None:
        super().__init__()
        size, inner = family.size, family.inner_size
        self.attention = Attention(size, family.num_heads)
        self.attention_norm = LayerNorm(size, eps)
        self.up = Linear(size, inner)
        self.down = Linear(inner, size)
        self.output_norm = LayerNorm(size, eps)
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        x = self.attention_norm(x + self.attention(x, mask))
        return self.output_norm(x + self.down(self.activation(self.up(x))))


class Embeddings(Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, size)
        self.position_embeddings = Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = Embedding(config.type_vocab_size, size)
        self.LayerNorm = LayerNorm(size, config.layer_norm_eps)

    def __call__(self, pack: Pack, positions: mx.array) -> mx.array:
        words = self.word_embeddings(pack.tokens)
        types = self.token_type_embeddings(pack.segments)
        return self.LayerNorm(words + types + self.position_embeddings(positions))


class Head(Module):
    """A score, from the last hidden state of the first token."""

    def __init__(self, size: int, activation: Callable[[mx.array], mx.array] = mx.tanh) -> None:
        super().__init__()
        self.dense = Linear(size, size)
        self.out = Linear(size, 1)
        self.activation = activation

    def __call__(self, first: mx.array) -> mx.array:
        return self.out(self.activation(self.dense(first)))[:, 0]


class Bert(Module):
    """`states` yields the hidden states of each layer; `scores` makes scores of the last ones."""

    def __init__(self, config: BertConfig, *, has_head: bool) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.layers = [
            Layer(config, config.layer_norm_eps, config.hidden_act)
            for _ in range(config.num_hidden_layers)
        ]
        self.has_segments = config.has_segments and config.type_vocab_size > 1
        if has_head:
            self.head = Head(config.hidden_size)

    @property
    def num_embeddings(self) -> int:
        return int(self.embeddings.word_embeddings.weight.shape[0])

    def positions(self, pack: Pack) -> mx.array:
        return mx.arange(pack.tokens.shape[1])

    def states(self, pack: Pack) -> Iterator[mx.array]:
        x = self.embeddings(pack, self.positions(pack))
        mask = mask_of(pack.key_mask(), x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
            yield x

    def scores(self, hidden: mx.array, pack: Pack) -> mx.array:
        return self.head(hidden[:, 0])

    def own_name(self, name: str) -> str:
        """What a tensor of the family is called here."""
        for theirs, ours in _RENAMED:
            name = name.replace(theirs, ours)
        return self.head_name(name)

    def head_name(self, name: str) -> str:
        return name.replace("pooler.dense", "head.dense").replace("classifier.", "head.out.")
