"""Whether the server answers now, in a word: told by /ready and by the status."""

import asyncio
from typing import Literal, TypeAlias

from registry.store.store import Store
from runtime.pool import ModelPool

Readiness: TypeAlias = Literal["ready", "paused", "draining", "no model can answer"]


async def readiness(pool: ModelPool, store: Store) -> Readiness:
    """What speaks against new requests, and holds for longest, comes first."""
    intake = pool.residency.intake
    if intake.is_draining:
        return "draining"
    if intake.is_paused:
        return "paused"
    entries = await asyncio.to_thread(store.entries)
    can_answer = any(entry.is_ready and pool.can_serve(entry.id) for entry in entries)
    return "ready" if can_answer else "no model can answer"
