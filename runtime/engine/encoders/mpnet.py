"""MPNet: all-mpnet-base-v2. BERT's layers, and a bias for how far a token is from another."""

from collections.abc import Iterator

import mlx.core as mx
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.normalization import LayerNorm

from registry.checkpoint.encoders.mpnet import NUM_BUCKETS, MPNetConfig

from .attention import Pack, mask_of
from .bert import Head, Layer
from .roberta import positions_beside

# Pieces of a checkpoint's tensor names, and what replaces them here, in this order.
_RENAMED = (
    ("encoder.layer.", "layers."),
    ("encoder.relative", "relative"),
    ("attention.LayerNorm", "attention_norm"),
    ("attention.attn.q", "attention.query"),
    ("attention.attn.k", "attention.key"),
    ("attention.attn.v", "attention.value"),
    ("attention.attn.o", "attention.output"),
    ("intermediate.dense", "up"),
    ("output.dense", "down"),
    ("output.LayerNorm", "output_norm"),
    ("classifier.dense", "head.dense"),
    ("classifier.out_proj", "head.out"),
)
# The distances where the buckets of one direction begin, the first at 0: T5's, who takes the
# logarithm from 8 on. Whole numbers, as a logarithm could err by one where it is whole.
_STARTS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91)


class Embeddings(Module):
    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, size)
        self.position_embeddings = Embedding(config.max_position_embeddings, size)
        self.LayerNorm = LayerNorm(size, config.layer_norm_eps)
        self.padding = config.first_position - 1

    def __call__(self, pack: Pack) -> mx.array:
        words = self.word_embeddings(pack.tokens)
        return self.LayerNorm(
            words + self.position_embeddings(positions_beside(pack, self.padding))
        )


class MPNet(Module):
    """`states` yields the hidden states of each layer; `scores` makes scores of the last ones."""

    has_segments = False

    def __init__(self, config: MPNetConfig, *, has_head: bool) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.relative_attention_bias = Embedding(NUM_BUCKETS, config.num_attention_heads)
        self.layers = [
            Layer(config, config.layer_norm_eps, config.hidden_act)
            for _ in range(config.num_hidden_layers)
        ]
        if has_head:
            self.head = Head(config.hidden_size)

    @property
    def num_embeddings(self) -> int:
        return int(self.embeddings.word_embeddings.weight.shape[0])

    def states(self, pack: Pack) -> Iterator[mx.array]:
        x = self.embeddings(pack)
        bias = self.relative_attention_bias(buckets(pack.tokens.shape[1])).transpose(2, 0, 1)
        mask = mask_of(pack.key_mask(), x.dtype, bias)
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


def buckets(length: int) -> mx.array:
    """Queries x keys: which bias each pair has, those of later keys in the second half."""
    places = mx.arange(length)
    further = places - places[:, None]
    distances = mx.abs(further)[..., None]
    one_way = (distances >= mx.array(_STARTS)).astype(mx.int32).sum(axis=-1)
    return mx.where(further > 0, one_way + NUM_BUCKETS // 2, one_way)
