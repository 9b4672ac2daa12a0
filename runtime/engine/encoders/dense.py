"""What comes after pooling, as modules.json lists it: dense layers, and vectors of length 1."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import mlx.core as mx
from mlx.nn.layers.activations import gelu, relu, silu
from mlx.nn.layers.base import Module
from mlx.nn.layers.linear import Linear

from registry.checkpoint.modules import Dense, DenseActivation, Step, check_weights

from .pooling import normalize

_ACTIVATIONS: dict[DenseActivation, Callable[[mx.array], mx.array]] = {
    "Identity": lambda x: x,
    "Tanh": mx.tanh,
    "ReLU": relu,
    "GELU": gelu,
    "SiLU": silu,
    "Sigmoid": mx.sigmoid,
}


class DenseLayer(Module):
    """Rows x in_features, to rows x out_features."""

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        sizes = dense.in_features, dense.out_features
        self.linear = Linear(*sizes, bias=dense.has_bias)
        self.has_residual = dense.has_residual
        if dense.has_residual and sizes[0] != sizes[1]:
            self.residual = Linear(*sizes, bias=False)
        self.activation = _ACTIVATIONS[dense.activation]

    def __call__(self, x: mx.array) -> mx.array:
        outcome = self.activation(self.linear(x))
        if not self.has_residual:
            return outcome
        return outcome + (self.residual(x) if "residual" in self else x)


class DenseSteps(Module):
    """The steps in their order, in float32 as pooling is."""

    def __init__(self, folder: Path, steps: Sequence[Step]) -> None:
        """Its weights are not read yet. Raises ValueError or BrokenWeights for wrong ones."""
        super().__init__()
        self.layers: list[DenseLayer] = []
        self._dense = [step for step in steps if isinstance(step, Dense)]
        self._steps: list[Callable[[mx.array], mx.array]] = []
        for step in steps:
            if not isinstance(step, Dense):
                self._steps.append(normalize)
                continue
            check_weights(folder, step)
            weights = mx.load(str(folder / step.weights))
            layer = DenseLayer(step)
            layer.load_weights([(n, v.astype(mx.float32)) for n, v in weights.items()])  # type: ignore[union-attr]
            self.layers.append(layer)
            self._steps.append(layer)

    @property
    def num_params(self) -> int:
        return sum(math.prod(shape) for dense in self._dense for shape in dense.shapes.values())

    def __call__(self, vectors: mx.array) -> mx.array:
        for step in self._steps:
            vectors = step(vectors)
        return vectors
