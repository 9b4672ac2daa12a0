"""DistilBERT: msmarco-distilbert, multi-qa-distilbert, and cross-encoders of its kind."""

from typing import ClassVar

from .family import Count, Family, Layers, Shape, check_activation, check_heads, linear, norm


class DistilBertConfig(Family, frozen=True, kw_only=True):
    """https://huggingface.co/docs/transformers/model_doc/distilbert"""

    classes: ClassVar[tuple[str, ...]] = ("DistilBert",)
    prefixes: ClassVar[tuple[str, ...]] = ("distilbert.",)
    heads: ClassVar[tuple[str, ...]] = (
        *("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
        "pre_classifier.",
    )

    vocab_size: Count = 30522
    dim: Count = 768
    n_layers: Layers = 6
    n_heads: Count = 12
    hidden_dim: Count = 3072
    max_position_embeddings: Count = 512
    activation: str = "gelu"

    def __post_init__(self) -> None:
        check_activation("activation", self.activation)
        check_heads(self.dim, self.n_heads)

    @property
    def size(self) -> int:
        return self.dim

    @property
    def inner_size(self) -> int:
        return self.hidden_dim

    @property
    def num_heads(self) -> int:
        return self.n_heads

    @property
    def max_tokens(self) -> int:
        return self.max_position_embeddings

    def shapes(self, *, has_head: bool) -> dict[str, Shape]:
        size, inner = self.dim, self.hidden_dim
        shapes: dict[str, Shape] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, size),
            "embeddings.position_embeddings.weight": (self.max_position_embeddings, size),
        } | norm("embeddings.LayerNorm", size)
        for layer in (f"transformer.layer.{number}" for number in range(self.n_layers)):
            for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
                shapes |= linear(f"{layer}.attention.{part}", size, size)
            shapes |= norm(f"{layer}.sa_layer_norm", size)
            shapes |= linear(f"{layer}.ffn.lin1", inner, size)
            shapes |= linear(f"{layer}.ffn.lin2", size, inner)
            shapes |= norm(f"{layer}.output_layer_norm", size)
        if has_head:
            shapes |= linear("pre_classifier", size, size) | linear("classifier", 1, size)
        return shapes
