"""ModernBERT: gte-modernbert, modernbert-embed, and cross-encoders of its kind."""

from typing import ClassVar, Literal

import msgspec

from .family import Count, Family, Layers, Shape, check_activation, check_heads, linear, norm

GLOBAL, LOCAL = "full_attention", "sliding_attention"


class Rope(msgspec.Struct, frozen=True):
    """The rotary settings of one kind of layer."""

    rope_theta: float
    rope_type: str = "default"


class ModernBertConfig(Family, frozen=True, kw_only=True):
    """transformers 5 writes `layer_types` and `rope_parameters`, older ones do not.

    https://huggingface.co/docs/transformers/model_doc/modernbert
    """

    classes: ClassVar[tuple[str, ...]] = ("ModernBert",)
    prefixes: ClassVar[tuple[str, ...]] = ("model.",)
    heads: ClassVar[tuple[str, ...]] = ("head.", "decoder.")

    vocab_size: Count = 50368
    hidden_size: Count = 768
    intermediate_size: Count = 1152
    num_hidden_layers: Layers = 22
    num_attention_heads: Count = 12
    max_position_embeddings: Count = 8192
    hidden_activation: str = "gelu"
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    global_attn_every_n_layers: Count = 3
    local_attention: Count = 128  # the whole window: half of it on either side
    global_rope_theta: float = 160_000.0
    local_rope_theta: float | None = 10_000.0
    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None
    rope_parameters: dict[str, Rope | None] | None = None
    classifier_pooling: Literal["cls", "mean"] = "cls"
    classifier_bias: bool = False
    classifier_activation: str = "gelu"

    def __post_init__(self) -> None:
        check_activation("hidden_activation", self.hidden_activation)
        check_activation("classifier_activation", self.classifier_activation)
        check_heads(self.hidden_size, self.num_attention_heads)
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError("layer_types does not tell of each layer what it is")
        for rope in (self.rope_parameters or {}).values():
            if rope is not None and rope.rope_type != "default":
                raise ValueError(f"rope_type is {rope.rope_type!r}; only 'default' is computed")

    @property
    def size(self) -> int:
        return self.hidden_size

    @property
    def inner_size(self) -> int:
        return self.intermediate_size

    @property
    def num_heads(self) -> int:
        return self.num_attention_heads

    @property
    def max_tokens(self) -> int:
        return self.max_position_embeddings

    def layer_type(self, index: int) -> str:
        if self.layer_types is not None:
            return self.layer_types[index]
        return LOCAL if index % self.global_attn_every_n_layers else GLOBAL

    def rope_theta(self, layer_type: str) -> float:
        if (rope := (self.rope_parameters or {}).get(layer_type)) is not None:
            return rope.rope_theta
        if layer_type == GLOBAL or self.local_rope_theta is None:
            return self.global_rope_theta
        return self.local_rope_theta

    def shapes(self, *, has_head: bool) -> dict[str, Shape]:
        size, inner = self.hidden_size, self.intermediate_size
        shapes: dict[str, Shape] = {"embeddings.tok_embeddings.weight": (self.vocab_size, size)}
        shapes |= self._norm("embeddings.norm") | self._norm("final_norm")
        for number in range(self.num_hidden_layers):
            layer = f"layers.{number}"
            if number:  # the first layer's input is normalised already
                shapes |= self._norm(f"{layer}.attn_norm")
            shapes |= linear(f"{layer}.attn.Wqkv", 3 * size, size, bias=self.attention_bias)
            shapes |= linear(f"{layer}.attn.Wo", size, size, bias=self.attention_bias)
            shapes |= self._norm(f"{layer}.mlp_norm")
            shapes |= linear(f"{layer}.mlp.Wi", 2 * inner, size, bias=self.mlp_bias)
            shapes |= linear(f"{layer}.mlp.Wo", size, inner, bias=self.mlp_bias)
        if has_head:
            shapes |= linear("head.dense", size, size, bias=self.classifier_bias)
            shapes |= self._norm("head.norm") | linear("classifier", 1, size)
        return shapes

    def _norm(self, name: str) -> dict[str, Shape]:
        return norm(name, self.hidden_size, bias=self.norm_bias)
