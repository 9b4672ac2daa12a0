"""One generation inside the batch: its prompt, how it is drawn, and how far it has come."""

import time
from dataclasses import dataclass, field

from runtime.engine.answer.follower import Follower
from runtime.engine.cache.kv_cache import Cache
from runtime.events import Finished, FinishReason, Timings, Usage
from runtime.requests import SamplingParams


@dataclass(eq=False, slots=True)
class Row:
    """Owned by `Batch`. All but the last prompt token are prefilled; the last starts the decode.

    Times are of the monotonic clock.
    """

    id: int
    tokens: list[int]  # the prompt, at least one token
    sampling: SamplingParams  # its `seed` is set
    follower: Follower
    cache: Cache = field(default_factory=list)  # while it prefills; then its group holds it
    num_prefilled: int = 0
    num_drawn: int = 0  # tokens whose computation was started
    arrived_at: float = field(default_factory=time.monotonic)
    started_at: float | None = None  # when it left the queue
    first_token_at: float | None = None

    @property
    def max_tokens(self) -> int:
        return self.follower.max_tokens

    @property
    def num_to_prefill(self) -> int:
        return len(self.tokens) - 1 - self.num_prefilled

    @property
    def length(self) -> int:
        """Tokens in its KV cache."""
        return self.num_prefilled + self.num_drawn

    def finished(self, reason: FinishReason) -> Finished:
        """Its last event, with what it took until now."""
        now = time.monotonic()
        first_token_at = self.first_token_at or now
        started_at = self.started_at or first_token_at
        return Finished(
            self.id,
            reason,
            Usage(prompt_tokens=len(self.tokens), completion_tokens=self.follower.num_taken),
            Timings(
                queued_s=started_at - self.arrived_at,
                prefill_s=first_token_at - started_at,
                decode_s=now - first_token_at,
            ),
        )
