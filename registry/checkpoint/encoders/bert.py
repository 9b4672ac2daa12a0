"""BERT: MiniLM, bge, e5, gte, LaBSE, and cross-encoders of its kind."""

from typing import ClassVar

from .family import Count, Family, Layers, Shape, check_activation, check_heads, linear, norm


class BertConfig(Family, frozen=True, kw_only=True):
    """https://huggingface.co/docs/transformers/model_doc/bert"""

    classes: ClassVar[tuple[str, ...]] = ("Bert",)
    prefixes: ClassVar[tuple[str, ...]] = ("bert.",)
    has_segments: ClassVar[bool] = True

    vocab_size: Count = 30522
    hidden_size: Count = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: Count = 12
    intermediate_size: Count = 3072
    max_position_embeddings: Count = 512
    type_vocab_size: Count = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"

    def __post_init__(self) -> None:
        check_activation("hidden_act", self.hidden_act)
        check_heads(self.hidden_size, self.num_attention_heads)

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

    def shapes(self, *, has_head: bool) -> dict[str, Shape]:
        size, inner = self.hidden_size, self.intermediate_size
        shapes: dict[str, Shape] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, size),
            "embeddings.position_embeddings.weight": (self.max_position_embeddings, size),
            "embeddings.token_type_embeddings.weight": (self.type_vocab_size, size),
        } | norm("embeddings.LayerNorm", size)
        for layer in (f"encoder.layer.{number}" for number in range(self.num_hidden_layers)):
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                shapes |= linear(f"{layer}.attention.{part}", size, size)
            shapes |= norm(f"{layer}.attention.output.LayerNorm", size)
            shapes |= linear(f"{layer}.intermediate.dense", inner, size)
            shapes |= linear(f"{layer}.output.dense", size, inner)
            shapes |= norm(f"{layer}.output.LayerNorm", size)
        return shapes | (self._head() if has_head else {})

    def _head(self) -> dict[str, Shape]:
        size = self.hidden_size
        return linear("pooler.dense", size, size) | linear("classifier", 1, size)
