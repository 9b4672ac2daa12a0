"""What the families of encoders have in common: keys of config.json, and tensors that follow.

Each family is a Struct of the keys that its network is computed by, with the defaults of
transformers. What else config.json says is judged by `foreign`.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, TypeAlias

import msgspec

Shape: TypeAlias = tuple[int, ...]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
Layers: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1024)]  # so that their names can be listed

# By the names of transformers; a test holds them equal to what the engine computes.
ACTIVATIONS = frozenset(
    {"gelu", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "relu", "silu", "swish"}
)
# First parts of tensor names, of heads that no vector needs: poolers, those that guess words.
_HEADS = ("pooler.", "cls.", "lm_head.", "classifier.", "qa_outputs.")
_COUNTED = ("embeddings.position_ids", "embeddings.token_type_ids")  # numbers from 0 on, or zeros


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of config.json that are used. Names of tensors are those without a prefix."""

    classes: ClassVar[tuple[str, ...]]  # how names of its classes in transformers begin: "Bert"
    code: ClassVar[str] = ""  # the module of repositories that computes the same
    prefixes: ClassVar[tuple[str, ...]]
    heads: ClassVar[tuple[str, ...]] = ()  # more heads that no vector needs
    can_rank: ClassVar[bool] = True
    has_bias: ClassVar[bool] = False  # whether each head adds numbers of its own to the scores
    has_segments: ClassVar[bool] = False  # whether it tells the second text of a pair by its type

    @property
    def size(self) -> int:
        """Numbers of a hidden state."""
        raise NotImplementedError

    @property
    def inner_size(self) -> int:
        """Numbers that the feed-forward holds of each token."""
        raise NotImplementedError

    @property
    def num_heads(self) -> int:
        raise NotImplementedError

    @property
    def max_tokens(self) -> int:
        """How long an input may be, special tokens included."""
        raise NotImplementedError

    def shapes(self, *, has_head: bool) -> dict[str, Shape]:
        """The tensors of its network; of a cross-encoder, of its head too."""
        raise NotImplementedError

    def named(self, names: Iterable[str], *, has_head: bool) -> dict[str, str]:
        """A checkpoint's names, by those that tensors have here; what no vector needs is left out.

        Raises ValueError for two tensors of one name.
        """
        read = self.shapes(has_head=has_head)
        found: dict[str, str] = {}
        for full in names:
            name = self._bare(full)
            if name not in read and self._is_unread(name):
                continue
            if name in found:
                raise ValueError(f"tensors {found[name][:200]!r} and {full[:200]!r} are the same")
            found[name] = full
        return found

    def _bare(self, name: str) -> str:
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        # Older checkpoints, from TensorFlow.
        return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        )

    def _is_unread(self, name: str) -> bool:
        is_head = name.startswith((*_HEADS, *self.heads))
        return is_head or name in _COUNTED or name.endswith("rotary_emb.inv_freq")


def check_activation(key: str, name: str) -> None:
    """Raises ValueError for one that is not computed."""
    if name not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ValueError(f"{key} is {name[:100]!r}, which is not computed here; known are {known}")


def check_heads(size: int, num_heads: int) -> None:
    """Raises ValueError for a size that heads cannot share."""
    if size % num_heads:
        raise ValueError(f"{num_heads} attention heads cannot share {size} numbers")


def linear(name: str, rows: int, columns: int, *, bias: bool = True) -> dict[str, Shape]:
    """A matrix that makes `rows` numbers of `columns`."""
    shapes: dict[str, Shape] = {f"{name}.weight": (rows, columns)}
    return shapes | ({f"{name}.bias": (rows,)} if bias else {})


def norm(name: str, size: int, *, bias: bool = True) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {f"{name}.weight": (size,)}
    return shapes | ({f"{name}.bias": (size,)} if bias else {})
