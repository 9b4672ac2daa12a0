"""Many inputs to a vector or a score each, in one forward pass."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import mlx.core as mx
import numpy as np

from registry.checkpoint.encoder import EncoderConfig
from runtime.engine_messages import ModelInfo

from .attention import Pack
from .batch import Input
from .bert import Bert
from .decoder import Decoder
from .dense import DenseSteps
from .distilbert import DistilBert
from .modernbert import ModernBert
from .mpnet import MPNet
from .nomic_bert import NomicBert
from .pooling import normalize, pool

# A pass from this size on is computed layer by layer, with the heartbeat answered in between.
_LONG_PACK_TOKENS = 1024


Network: TypeAlias = Bert | DistilBert | ModernBert | MPNet | NomicBert | Decoder


class Between(Protocol):
    """Called again and again while a long pass is computed."""

    def __call__(self) -> None: ...


class Encoder:
    """A model in memory, and what its files say of pooling."""

    def __init__(
        self, network: Network, steps: DenseSteps, config: EncoderConfig, info: ModelInfo
    ) -> None:
        self.info = info
        self._network = network
        self._steps = steps
        self._config = config

    def check(self, tokens: Sequence[int]) -> None:
        """Raises ValueError for an input that cannot be read."""
        limit, num_embeddings = self._config.max_input_tokens, self._network.num_embeddings
        if not 0 < len(tokens) <= limit:
            raise ValueError(f"an input has {len(tokens)} tokens; expected 1 to {limit}")
        if not 0 <= min(tokens) <= max(tokens) < num_embeddings:
            # MLX does not check indices: it would read foreign memory.
            raise ValueError(f"a token is beyond the model's {num_embeddings} embeddings")

    def encode(self, inputs: Sequence[Input], between: Between = lambda: None) -> list[bytes]:
        """One float32 vector per input. Raises ValueError when one is not finite."""
        pack = self._pack(inputs)
        hidden = mx.array(0)
        for hidden in self._network.states(pack):
            if pack.tokens.size >= _LONG_PACK_TOKENS:
                mx.eval(hidden)
                between()
        if self._config.kind == "rerank":
            # The APIs that clients know want a relevance between 0 and 1.
            vectors = mx.sigmoid(self._network.scores(hidden, pack).astype(mx.float32))[:, None]
        else:
            vectors = self._steps(pool(hidden, pack, self._config.modules.pooling))
        if not mx.isfinite(vectors).all().item():
            raise ValueError("the model computed something that is no number")
        return self._rows(vectors, [entry.dimensions for entry in inputs])

    def _pack(self, inputs: Sequence[Input]) -> Pack:
        longest = max(len(entry.tokens) for entry in inputs)
        tokens = [[*entry.tokens, *[0] * (longest - len(entry.tokens))] for entry in inputs]
        lengths = mx.array([len(entry.tokens) for entry in inputs])
        segments = mx.zeros((len(inputs), longest), mx.int32)
        if self._network.has_segments and any(entry.num_first for entry in inputs):
            firsts = mx.array([entry.num_first or longest for entry in inputs])
            segments = (mx.arange(longest) >= firsts[:, None]).astype(mx.int32)
        return Pack(mx.array(tokens), segments, lengths)

    def _rows(self, vectors: mx.array, dimensions: Sequence[int | None]) -> list[bytes]:
        """Each row as bytes; what is cut to a size of its own is normalised again."""
        rows = [b""] * len(dimensions)
        for size in set(dimensions):
            cut = vectors if size is None else normalize(vectors[:, :size])
            content = np.asarray(cut).tobytes()
            width = 4 * cut.shape[1]
            for row in (row for row, wanted in enumerate(dimensions) if wanted == size):
                rows[row] = content[row * width : (row + 1) * width]
        return rows
