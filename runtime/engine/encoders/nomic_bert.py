"""nomic-bert: nomic-embed-text v1 and v1.5. Rotary positions and a gated MLP."""

from collections.abc import Iterator
from typing import Self

import mlx.core as mx
import msgspec
from mlx.nn.layers.base import Module
from mlx.nn.layers.embedding import Embedding
from mlx.nn.layers.linear import Linear
from mlx.nn.layers.normalization import LayerNorm

from registry.checkpoint.config import Json

from .attention import Pack, activation, attend, rotate, split_heads


class NomicBertConfig(msgspec.Struct, frozen=True):
    """The keys of config.json that are used; their names are GPT-2's."""

    vocab_size: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None
    type_vocab_size: int = 2
    layer_norm_epsilon: float = 1e-12
    activation_function: str = "swiglu"
    rotary_emb_fraction: float = 1.0
    rotary_emb_base: float = 10_000.0
    rotary_emb_interleaved: bool = False
    rotary_emb_scale_base: float | None = None
    rotary_scaling_factor: float | None = None
    qkv_proj_bias: bool = True
    mlp_fc1_bias: bool = True
    mlp_fc2_bias: bool = True
    prenorm: bool = False
    parallel_block: bool = False
    use_rms_norm: bool | None = False
    num_experts: int | None = None

    def __post_init__(self) -> None:
        unknown = {
            "activation_function": self.activation_function not in ("swiglu", "geglu"),
            "rotary_emb_fraction": not 0 < self.rotary_emb_fraction <= 1,
            "rotary_emb_interleaved": self.rotary_emb_interleaved,
            "rotary_emb_scale_base": self.rotary_emb_scale_base is not None,
            "rotary_scaling_factor": self.rotary_scaling_factor is not None,
            "prenorm": self.prenorm,
            "parallel_block": self.parallel_block,
            "use_rms_norm": bool(self.use_rms_norm),
            "num_experts": bool(self.num_experts),
        }
        for name in (name for name, is_unknown in unknown.items() if is_unknown):
            raise ValueError(
                f"{name} is {getattr(self, name)!r}, which is not computed here: only models like "
                "nomic-embed-text v1 and v1.5 are"
            )


class Attention(Module):
    def __init__(self, config: NomicBertConfig) -> None:
        super().__init__()
        size = config.n_embd
        self.num_heads = config.n_head
        self.num_rotated = int(size // config.n_head * config.rotary_emb_fraction)
        self.base = config.rotary_emb_base
        self.Wqkv = Linear(size, 3 * size, bias=config.qkv_proj_bias)
        self.out_proj = Linear(size, size, bias=config.qkv_proj_bias)

    def __call__(self, x: mx.array, may_see: mx.array) -> mx.array:
        queries, keys, values = (
            split_heads(part, self.num_heads) for part in mx.split(self.Wqkv(x), 3, axis=-1)
        )
        queries = rotate(queries, self.base, self.num_rotated)
        keys = rotate(keys, self.base, self.num_rotated)
        return self.out_proj(attend(queries, keys, values, may_see))


class GatedMlp(Module):
    def __init__(self, config: NomicBertConfig) -> None:
        super().__init__()
        size, inner = config.n_embd, config.n_inner or 4 * config.n_embd
        self.fc11 = Linear(size, inner, bias=config.mlp_fc1_bias)
        self.fc12 = Linear(size, inner, bias=config.mlp_fc1_bias)  # the gate
        self.fc2 = Linear(inner, size, bias=config.mlp_fc2_bias)
        name = "silu" if config.activation_function == "swiglu" else "gelu"
        self.activation = activation(name)

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

    def __call__(self, x: mx.array, may_see: mx.array) -> mx.array:
        x = self.norm1(x + self.attn(x, may_see))
        return self.norm2(x + self.mlp(x))


class Embeddings(Module):
    def __init__(self, config: NomicBertConfig) -> None:
        super().__init__()
        self.word_embeddings = Embedding(config.vocab_size, config.n_embd)
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
        if has_head:
            raise ValueError("rerankers of type nomic_bert are not computed here")
        self.embeddings = Embeddings(config)
        self.emb_ln = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.layers = [Layer(config) for _ in range(config.n_layer)]
        self.has_segments = config.type_vocab_size > 1

    @classmethod
    def of(cls, config: dict[str, Json], *, has_head: bool) -> Self:
        """From a config.json. Raises ValueError for what is not computed here."""
        return cls(msgspec.convert(config, NomicBertConfig), has_head=has_head)

    @property
    def num_embeddings(self) -> int:
        return int(self.embeddings.word_embeddings.weight.shape[0])

    def states(self, pack: Pack) -> Iterator[mx.array]:
        x = self.emb_ln(self.embeddings(pack))
        may_see = pack.key_mask()
        for layer in self.layers:
            x = layer(x, may_see)
            yield x

    def scores(self, hidden: mx.array, pack: Pack) -> mx.array:
        raise NotImplementedError

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """A checkpoint's tensors under the names that they have here; unused ones are dropped."""
        named = (
            (name.removeprefix("bert.").removeprefix("encoder."), v) for name, v in weights.items()
        )
        kept = ("embeddings.word", "embeddings.token", "emb_ln.", "layers.")
        return {name: value for name, value in named if name.startswith(kept)}
