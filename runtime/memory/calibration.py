"""How wrong the model of memory is for one model, by what engines measured; what follows of it."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from registry.checkpoint.model_memory import ModelMemory
from runtime.engine_messages import ChunkPass

from .chunk_pass import CHUNK_TOKENS

_LAST = 256  # answers that are looked back on
_LEAST_MARGIN = 0.02  # of what is predicted, while nothing speaks for more
_LEAST_GROWN = 0.05  # of a prediction is taken to be caches: of less, noise would look like error
_LEAST_SHARE = 0.25  # of a whole chunk
_PASS_SPREAD = 1.1  # passes of one size differ by less


@dataclass
class Calibration:
    """The last answers' predictions, and what was held at their ends."""

    _samples: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=_LAST))

    def add(self, predicted_bytes: int, measured_bytes: int, weight_bytes: int = 0) -> None:
        """One answer's, as its timings tell; of one that tells nothing nothing is learned.

        Weights are in both, and are what they are.
        """
        if predicted_bytes > 0 and measured_bytes > 0:
            self._samples.append((predicted_bytes, measured_bytes, weight_bytes))

    @property
    def num_samples(self) -> int:
        return len(self._samples)

    @property
    def error_p95(self) -> float | None:
        """95 % of the predictions were at most this far off, as a share of what was measured."""
        return _p95(abs(told - held) / held for told, held, _ in self._samples)

    @property
    def margin(self) -> float:
        """The share of what rows are predicted to take that is kept free beside it: what 95 % of
        those that were too low would have needed.
        """
        missing = _p95(
            max(0, held - told) / max(told - weights, _LEAST_GROWN * told)
            for told, held, weights in self._samples
        )
        return max(_LEAST_MARGIN, missing or 0.0)


def with_measured(memory: ModelMemory, measured: ChunkPass) -> ModelMemory:
    """The memory of a model with what a pass really took, scaled to a whole chunk.

    A pass has parts that do not grow with it, so what is scaled up is never too little, and much
    too much where there is little to scale up from.
    """
    share = min(1.0, measured.chunk_tokens / CHUNK_TOKENS)
    if share < _LEAST_SHARE:
        return memory
    # What each token of the row adds was told for a whole chunk.
    scores = int(measured.row_tokens * memory.pass_token_bytes * share)
    own = max(0, measured.num_bytes - scores)
    return msgspec.structs.replace(memory, pass_bytes=int(own / share * _PASS_SPREAD))


def _p95(values: Iterable[float]) -> float | None:
    ordered = sorted(values)
    return ordered[(len(ordered) * 95 - 1) // 100] if ordered else None
