"""nomic-bert: nomic-embed-text v1 and v1.5, arctic-embed-m-long."""

from typing import ClassVar

from .family import Count, Family, Layers, Shape, check_heads, linear, norm


class NomicBertConfig(Family, frozen=True, kw_only=True):
    """The names are GPT-2's: https://huggingface.co/nomic-ai/nomic-bert-2048"""

    classes: ClassVar[tuple[str, ...]] = ("NomicBert",)
    code: ClassVar[str] = "modeling_hf_nomic_bert"
    prefixes: ClassVar[tuple[str, ...]] = ("bert.",)
    can_rank: ClassVar[bool] = False
    has_segments: ClassVar[bool] = True

    vocab_size: Count = 50257
    pad_vocab_size_multiple: Count = 1
    n_embd: Count = 768
    n_layer: Layers = 12
    n_head: Count = 12
    n_inner: Count | None = None
    n_positions: Count = 1024
    type_vocab_size: int = 2
    layer_norm_epsilon: float = 1e-5
    activation_function: str = "gelu_new"
    rotary_emb_fraction: float = 0.0
    rotary_emb_base: float = 10_000.0
    rotary_emb_interleaved: bool = False
    rotary_emb_scale_base: float | None = None
    rotary_scaling_factor: float | None = None
    scale_attn_weights: bool = True
    qkv_proj_bias: bool = True
    mlp_fc1_bias: bool = True
    mlp_fc2_bias: bool = True

    def __post_init__(self) -> None:
        check_heads(self.n_embd, self.n_head)
        unknown = {
            "activation_function": self.activation_function not in ("swiglu", "geglu"),
            "rotary_emb_fraction": not 0 < self.rotary_emb_fraction <= 1,
            "rotary_emb_interleaved": self.rotary_emb_interleaved,
            "rotary_emb_scale_base": self.rotary_emb_scale_base is not None,
            "rotary_scaling_factor": self.rotary_scaling_factor is not None,
            "scale_attn_weights": not self.scale_attn_weights,
        }
        for name in (name for name, is_unknown in unknown.items() if is_unknown):
            raise ValueError(
                f"{name} is {getattr(self, name)!r}, which is not computed here: only models like "
                "nomic-embed-text v1 and v1.5 are"
            )

    @property
    def size(self) -> int:
        return self.n_embd

    @property
    def inner_size(self) -> int:
        return self.n_inner or 4 * self.n_embd

    @property
    def num_heads(self) -> int:
        return self.n_head

    @property
    def max_tokens(self) -> int:
        return self.n_positions

    @property
    def num_rows(self) -> int:
        """Of the word embeddings: nomic's code rounds the vocabulary up."""
        multiple = self.pad_vocab_size_multiple
        return -(-self.vocab_size // multiple) * multiple

    def shapes(self, *, has_head: bool) -> dict[str, Shape]:
        size, inner = self.n_embd, self.inner_size
        shapes: dict[str, Shape] = {"embeddings.word_embeddings.weight": (self.num_rows, size)}
        if self.type_vocab_size:
            shapes["embeddings.token_type_embeddings.weight"] = (self.type_vocab_size, size)
        shapes |= norm("emb_ln", size)
        for layer in (f"encoder.layers.{number}" for number in range(self.n_layer)):
            shapes |= linear(f"{layer}.attn.Wqkv", 3 * size, size, bias=self.qkv_proj_bias)
            shapes |= linear(f"{layer}.attn.out_proj", size, size, bias=self.qkv_proj_bias)
            for part in ("fc11", "fc12"):
                shapes |= linear(f"{layer}.mlp.{part}", inner, size, bias=self.mlp_fc1_bias)
            shapes |= linear(f"{layer}.mlp.fc2", size, inner, bias=self.mlp_fc2_bias)
            shapes |= norm(f"{layer}.norm1", size) | norm(f"{layer}.norm2", size)
        return shapes
