"""MPNet: all-mpnet-base-v2, multi-qa-mpnet, and cross-encoders of its kind."""

from typing import ClassVar

from .family import Count, Family, Layers, Shape, check_activation, check_heads, linear, norm

NUM_BUCKETS = 32  # in transformers a constant, whatever config.json says


class MPNetConfig(Family, frozen=True, kw_only=True):
    """https://huggingface.co/docs/transformers/model_doc/mpnet"""

    classes: ClassVar[tuple[str, ...]] = ("MPNet",)
    prefixes: ClassVar[tuple[str, ...]] = ("mpnet.",)
    has_bias: ClassVar[bool] = True
    first_position: ClassVar[int] = 2  # whatever pad_token_id is

    vocab_size: Count = 30527
    hidden_size: Count = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: Count = 12
    intermediate_size: Count = 3072
    max_position_embeddings: Count = 512
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    relative_attention_num_buckets: int = NUM_BUCKETS

    def __post_init__(self) -> None:
        check_activation("hidden_act", self.hidden_act)
        check_heads(self.hidden_size, self.num_attention_heads)
        if self.relative_attention_num_buckets != NUM_BUCKETS:
            raise ValueError(
                f"relative_attention_num_buckets is {self.relative_attention_num_buckets}; only "
                f"{NUM_BUCKETS} are computed here"
            )

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
        return max(0, self.max_position_embeddings - self.first_position)

    def shapes(self, *, has_head: bool) -> dict[str, Shape]:
        size, inner = self.hidden_size, self.intermediate_size
        shapes: dict[str, Shape] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, size),
            "embeddings.position_embeddings.weight": (self.max_position_embeddings, size),
            "encoder.relative_attention_bias.weight": (NUM_BUCKETS, self.num_attention_heads),
        } | norm("embeddings.LayerNorm", size)
        for layer in (f"encoder.layer.{number}" for number in range(self.num_hidden_layers)):
            for part in "qkvo":
                shapes |= linear(f"{layer}.attention.attn.{part}", size, size)
            shapes |= norm(f"{layer}.attention.LayerNorm", size)
            shapes |= linear(f"{layer}.intermediate.dense", inner, size)
            shapes |= linear(f"{layer}.output.dense", size, inner)
            shapes |= norm(f"{layer}.output.LayerNorm", size)
        if has_head:
            shapes |= linear("classifier.dense", size, size)
            shapes |= linear("classifier.out_proj", 1, size)
        return shapes
