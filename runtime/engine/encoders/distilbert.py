"""DistilBERT: msmarco-distilbert. BERT's layers, without types of tokens; a head of its own."""

from collections.abc import Iterator

import mlx.core as mx
from mlx.nn.layers.activations import relu
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.normalization import LayerNorm

from registry.checkpoint.encoders.distilbert import DistilBertConfig

from .attention import Pack, mask_of
from .bert import Head, Layer

_EPS = 1e-12  # in transformers a constant

# Pieces of a checkpoint's tensor names, and what replaces them here, in this order.
_RENAMED = (
    ("transformer.layer.", "layers."),
    ("q_lin", "query"),
    ("k_lin", "key"),
    ("v_lin", "value"),
    ("out_lin", "output"),
    ("sa_layer_norm", "attention_norm"),
    ("output_layer_norm", "output_norm"),
    ("ffn.lin1", "up"),
    ("ffn.lin2", "down"),
    ("pre_classifier", "head.dense"),
    ("classifier", "head.out"),
)


class Embeddings(Module):
    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.word_embeddings = Embedding(config.vocab_size, config.dim)
        self.position_embeddings = Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = LayerNorm(config.dim, _EPS)

    def __call__(self, tokens: mx.array) -> mx.array:
        positions = mx.arange(tokens.shape[1])
        return self.LayerNorm(self.word_embeddings(tokens) + self.position_embeddings(positions))


class DistilBert(Module):
    """`states` yields the hidden states of each layer; `scores` makes scores of the last ones."""

    has_segments = False

    def __init__(self, config: DistilBertConfig, *, has_head: bool) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.layers = [Layer(config, _EPS, config.activation) for _ in range(config.n_layers)]
        if has_head:
            self.head = Head(config.dim, relu)

    @property
    def num_embeddings(self) -> int:
        return int(self.embeddings.word_embeddings.weight.shape[0])

    def states(self, pack: Pack) -> Iterator[mx.array]:
        x = self.embeddings(pack.tokens)
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
        return name
