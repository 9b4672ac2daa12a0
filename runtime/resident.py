"""A model in memory, as lists show it."""

from dataclasses import dataclass

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.model import Model

from .cached import CacheDescription
from .engine_messages import ModelInfo
from .errors import LoadFailed
from .slot import Slot


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """What is known of it at one moment."""

    model: Model
    info: ModelInfo
    chat_format: ChatFormat | None
    loaded_at: float  # unix time
    last_used: float  # unix time
    num_requests: int  # finished since the model is known
    tokens_per_second: float | None  # decode speed of the last request
    avg_tokens_per_second: float | None
    tokens_per_second_now: float  # of all its requests together, over the last seconds
    memory_bytes: int
    pinned: bool
    is_unloading: bool  # it waits for its last requests
    expires_in_s: float | None
    num_running: int
    num_waiting: int
    num_rows: int  # rows the engine itself says it holds
    num_short: int  # of those that wait: for memory
    num_aside: int  # of those that wait: rows that were set aside
    num_continued: int  # since the model is known: rows that left early and went on
    memory_error: float | None  # p95 of how far predictions of memory were off, as a share
    memory_margin: float  # the share of a prediction that follows of it
    cache: CacheDescription  # what is kept of prompts, as of about a second ago

    @classmethod
    def of(cls, slot: Slot) -> "ResidentModel":
        """Raises LoadFailed for a slot whose model is not in memory any more."""
        if slot.engine is None or slot.info is None:
            raise LoadFailed(f"Model '{slot.model.id}' was unloaded while it loaded.")
        stats, running = slot.stats, slot.schedule.num_running
        return cls(
            slot.model,
            slot.info,
            slot.chat_format,
            loaded_at=slot.loaded_at,
            last_used=slot.last_used,
            num_requests=stats.num_requests,
            tokens_per_second=stats.tokens_per_second,
            avg_tokens_per_second=stats.avg_tokens_per_second,
            tokens_per_second_now=slot.tally.per_second,
            memory_bytes=slot.engine.footprint_bytes(),
            pinned=slot.stays,
            is_unloading=slot.unloading is not None,
            expires_in_s=slot.expires_in_s,
            num_running=running,
            num_waiting=slot.requests.number - running,
            num_rows=slot.engine.num_rows,
            num_short=len(slot.schedule.short()),
            num_aside=slot.schedule.num_aside,
            num_continued=slot.schedule.continuations.total(),
            memory_error=stats.calibration.error_p95,
            memory_margin=stats.calibration.margin,
            cache=slot.engine.cache.last,
        )
