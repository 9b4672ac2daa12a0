"""One generation inside the batch: its prompt, how it is drawn, and how far it has come."""

from dataclasses import dataclass, field

from runtime.engine.cache.kv_cache import Cache
from runtime.engine.sampling.sampler import RowSampling


@dataclass(eq=False, slots=True)
class Row:
    """Owned by `Batch`. All but the last prompt token are prefilled; the last starts the decode."""

    id: int
    tokens: list[int]  # the prompt, at least one token
    sampling: RowSampling
    max_tokens: int
    cache: Cache = field(default_factory=list)  # its own while it prefills, then the group's
    num_prefilled: int = 0
    num_drawn: int = 0  # tokens whose computation was dispatched
    num_read: int = 0  # tokens that were read back and emitted
    started_at: float | None = None  # monotonic time when it left the queue

    @property
    def num_to_prefill(self) -> int:
        return len(self.tokens) - 1 - self.num_prefilled

    @property
    def length(self) -> int:
        """Tokens in its KV cache."""
        return self.num_prefilled + self.num_drawn
