"""Memory as it is now. Every reading is a new one: what was short is not short any more at once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from . import machine

# Of a limit, what may be used: beyond it the next command to the GPU may end the process.
FULL_SHARE = 0.95
# Of all memory, what may be wired: the kernel panics where nothing is left that can be moved.
_WIRED_SHARE = 0.9
SPARE_BYTES = 256 << 20  # what is left to the machine

# Whose count is the smallest: the system's free memory, MLX's own, the processes' footprint, or
# what the kernel has wired.
Count: TypeAlias = Literal["system", "mlx", "footprint", "wired"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What can still be taken, in bytes; below nothing where the limit is passed."""

    room: int
    count: Count

    @property
    def is_short(self) -> bool:
        """Whether there is too little to go on with all that is computed."""
        return self.room < 0


class Meter(Protocol):
    """Tells what can still be taken. Tests bring their own."""

    def read(self) -> Reading: ...


class LiveMeter:
    """Asks the system, and what is handed to it; the smallest count is the answer."""

    def __init__(
        self,
        working_set: Callable[[], int | None] = machine.working_set_bytes,
        pids: Callable[[], Iterable[int]] = lambda: (),
        active_bytes: Callable[[], int] | None = None,
    ) -> None:
        """`pids` are of the processes that share the GPU, `active_bytes` is MLX's own count."""
        self._working_set = working_set
        self._pids = pids
        self._active_bytes = active_bytes

    def read(self) -> Reading:
        readings = [Reading(machine.available_bytes() - SPARE_BYTES, "system")]
        if (working_set := self._working_set()) is not None:
            limit = int(working_set * FULL_SHARE)
            if self._active_bytes is not None:
                readings.append(Reading(limit - self._active_bytes(), "mlx"))
            held = sum(map(machine.footprint_bytes, self._pids()))
            readings.append(Reading(limit - held, "footprint"))
            if (wired := machine.wired_bytes()) is not None:
                limit = int(machine.physical_bytes() * _WIRED_SHARE)
                readings.append(Reading(limit - wired, "wired"))
        return min(readings, key=lambda reading: reading.room)
