"""What passes over prompts take at their peak, measured while prompts are read."""

from collections.abc import Iterable, Sequence

import mlx.core as mx

from runtime.engine_messages import ChunkPass
from runtime.events import Prefill, RowEvent

from .batch.row import Row


class PassMeter:
    """Only a chunk larger than all before is measured, until one was whole."""

    def __init__(self, chunk_tokens: int) -> None:
        self._chunk_tokens = chunk_tokens
        self._largest = 0
        self._before: dict[int, int] = {}  # tokens of each row that were read before the step

    def begin(self, reading: Sequence[Row], num_rows: int) -> None:
        """Before a step. Rows that draw beside it would count as a part of the pass."""
        self._before = {}
        if self._largest < self._chunk_tokens and 0 < len(reading) == num_rows:
            self._before = {row.id: row.num_prefilled for row in reading}
            mx.reset_peak_memory()

    def end(self, events: Iterable[RowEvent]) -> ChunkPass | None:
        """After it."""
        chunk = row_tokens = 0
        for event in events:
            if isinstance(event, Prefill) and event.id in self._before:
                chunk += event.done - max(event.cached, self._before[event.id])
                row_tokens = max(row_tokens, event.done)
        if chunk <= self._largest:
            return None
        self._largest = chunk
        return ChunkPass(mx.get_peak_memory() - mx.get_active_memory(), chunk, row_tokens)
