"""A GGUF on the disk: its metadata by name, and its tensors as plain numbers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize

from registry.checkpoint.weights import Tensor, Value, quote, read_header
from registry.errors import BrokenWeights, NotAModel

ENCODERS = ("bert", "nomic-bert")
ARCHITECTURES = ("llama", "qwen2", "qwen3", "smollm3", *ENCODERS)

INSTEAD = "choose the repository of the original weights (safetensors)"

# llama.cpp's converter reorders the q and k rows of these, for its own layout of rope.
_PERMUTED = ("llama", "smollm3")
_BLOCK_NUMBERS = 4 << 20  # how many of a tensor are taken at a time


@dataclass(frozen=True, slots=True)
class GgufFile:
    """One file of a family that is read here; mapped, so that its size costs no memory."""

    name: str
    architecture: str
    metadata: dict[str, Value]
    tensors: dict[str, Tensor]
    data: npt.NDArray[np.uint8]

    @classmethod
    def open(cls, path: Path) -> "GgufFile":
        """Raises BrokenWeights, NotAModel."""
        header = read_header(path, with_arrays=True)
        architecture = header.metadata.get("general.architecture")
        if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise NotAModel(
                f"{path.name} is of the architecture {quote(str(architecture))}; {known} are read. "
                f"For others, {INSTEAD}."
            )
        tensors = {tensor.name: tensor for tensor in header.tensors}
        data = np.memmap(path, np.uint8, "r")
        return cls(path.name, architecture, header.metadata, tensors, data)

    @property
    def is_encoder(self) -> bool:
        return self.architecture in ENCODERS

    @property
    def head_dim(self) -> int:
        per_head = self.count("embedding_length") // self.count("attention.head_count")
        return self.count("attention.key_length", per_head)

    def count(self, name: str, default: int | None = None) -> int:
        """A positive whole number that the metadata has for `name`. Raises NotAModel.

        A list of one for each layer is as good if they are all the same.
        """
        value = self.metadata.get(f"{self.architecture}.{name}", default)
        if isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if type(value) is not int or value <= 0:
            raise self._unusable(name)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A positive number that the metadata has for `name`. Raises NotAModel."""
        value = self.metadata.get(f"{self.architecture}.{name}", default)
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise self._unusable(name)
        return float(value)

    def rows(self, tensor: Tensor) -> Iterator[npt.NDArray[np.uint8]]:
        """The bytes of the tensor's rows, some at a time, in the order that mlx-lm wants."""
        order = self._row_order(tensor)
        # A vector whose order changes is taken as rows of one number.
        is_column = order is not None and len(tensor.shape) == 1
        num_columns = 1 if is_column else tensor.shape[-1]
        num_rows = tensor.num_elements // num_columns
        rows = self.data[tensor.begin : tensor.end].reshape(num_rows, -1)
        step = max(1, _BLOCK_NUMBERS // num_columns)
        for start in range(0, num_rows, step):
            part = slice(start, start + step)
            yield np.ascontiguousarray(rows[part] if order is None else rows[order[part]])

    def blocks(self, tensor: Tensor) -> Iterator[npt.NDArray[np.float32]]:
        """The tensor's `rows` in float32. Raises NotAModel, BrokenWeights."""
        for rows in self.rows(tensor):
            try:
                with np.errstate(all="ignore"):  # what is not finite is refused below
                    values = dequantize(rows, GGMLQuantizationType[tensor.dtype])
            except NotImplementedError:
                raise NotAModel(f"{self.name} has weights of the type {tensor.dtype}.") from None
            self.check_finite(tensor, values)
            yield values

    def check_finite(self, tensor: Tensor, *values: npt.NDArray[np.float32]) -> None:
        """Raises BrokenWeights if numbers of the tensor are infinite, or none at all."""
        if not all(np.isfinite(numbers).all() for numbers in values):
            reason = f"tensor {quote(tensor.name)} holds values that are no numbers"
            raise BrokenWeights(self.name, reason)

    def _row_order(self, tensor: Tensor) -> npt.NDArray[np.intp] | None:
        """Where each row of a q or k projection is in the file; None if the order was kept.

        The converter reshapes (heads, 2, half) and swaps the latter two; this swaps them back.
        """
        is_q, is_k = (f".{name}." in tensor.name for name in ("attn_q", "attn_k"))
        if self.architecture not in _PERMUTED or not (is_q or is_k):
            return None
        num_rows, num_heads = tensor.shape[0], self.count("attention.head_count")
        if is_k:
            num_heads = self.count("attention.head_count_kv", num_heads)
        if num_rows % (2 * num_heads):
            raise NotAModel(f"{self.name} has {num_rows} rows for {num_heads} heads.")
        halves = np.arange(num_rows).reshape(num_heads, num_rows // num_heads // 2, 2)
        return halves.swapaxes(1, 2).reshape(-1)

    def _unusable(self, name: str) -> NotAModel:
        key = f"{self.architecture}.{name}"
        value = self.metadata.get(key)
        shown = "a list" if isinstance(value, list) else quote(str(value))
        return NotAModel(f"{self.name} cannot be used: its {key} is {shown}.")
