"""One request's place in its model's schedule."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .requests import Priority

# Why a row had to leave: for a more urgent one, for want of memory, or with its engine.
Interruption: TypeAlias = Literal["priority", "memory", "death"]


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's place. Mutable; its schedule changes it."""

    number: int  # rises with each arrival; also its row's, in every engine
    priority: Priority
    takes_row: bool  # False: an encoder's, which packs all that have come
    on_position: Callable[[int], None]  # told how many wait up to this one; 0: its turn has come
    put_aside: Callable[[], None] | None = None  # while its row is in an engine: asks for it
    is_running: bool = False
    is_suspect: bool = False
    is_cleared: bool = False  # it has come so far in this engine that it will hardly end it
    interrupted: Interruption | None = None  # what it waits after
    position: int | None = None  # while it waits; counted from 1
    waited_s: float = 0.0  # in earlier waits
    waits_since: float | None = None
    num_tokens: int = 0  # of its prompt and the answer that room is kept for
    num_held: Callable[[], int] = lambda: 0  # of these, in its row's cache now
    held_bytes: Callable[[], int | None] = lambda: None  # bytes of that cache, where told
    short_since: float | None = None  # since when it would run if there were memory for it
    fault: Exception | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def turn(self) -> None:
        """Wait until it may run. Raises what `Schedule.fail` was given."""
        while self.fault is None and not self.is_running:
            self._changed.clear()
            await self._changed.wait()
        if self.fault is not None:
            raise self.fault

    def wake(self) -> None:
        self._changed.set()
