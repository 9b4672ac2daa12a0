"""What a batch should hold by the model of memory, beside what MLX says that it holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import msgspec

from registry.checkpoint.model_memory import ModelMemory
from runtime.events import Finished, RowEvent
from runtime.memory.kv import chunk_bytes, group_bytes

from .row import Row


@dataclass(frozen=True, slots=True)
class Account:
    """Of one model."""

    memory: ModelMemory
    chunk_tokens: int

    def note(
        self,
        events: list[RowEvent],
        reading: Sequence[Row],
        groups: Sequence[Sequence[int]],
        prefix_bytes: int,
    ) -> None:
        """Each answer's end tells both. `groups` are the lengths of rows that decode together.

        What rows hold that are being read is not predicted: their caches grow towards their room.
        """
        predicted = self.memory.weight_bytes + prefix_bytes
        for lengths in groups:
            predicted += group_bytes(self.memory.cache, lengths)
            predicted += len(lengths) * self.memory.row_bytes
        for row in reading:
            if row.num_prefilled:
                predicted += row.num_bytes + self.memory.row_bytes
                predicted += chunk_bytes(self.memory.cache, self.chunk_tokens)
        mx.synchronize()  # what a pass works with is given back at its end
        measured = mx.get_active_memory()
        for at, event in enumerate(events):
            if isinstance(event, Finished):
                timings = msgspec.structs.replace(
                    event.timings, predicted_bytes=predicted, measured_bytes=measured
                )
                events[at] = msgspec.structs.replace(event, timings=timings)
