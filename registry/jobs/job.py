"""One job as others see it: its state, its speed, and who follows it. Made by `jobs`."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Literal, TypeAlias

import msgspec

from registry.errors import RegistryError

from .order import Order, action_of

Status: TypeAlias = Literal["running", "done", "failed", "cancelled"]

FOLLOW_INTERVAL_S = 0.1  # the least time between two states that a follower is given
_SPEED_WINDOW_S = 5.0
_SPEED_STEP_S = 0.2  # the least time between two samples


class JobState(msgspec.Struct, frozen=True):
    """A job at one moment. The bytes are those of the stage."""

    id: str
    model_id: str
    action: str  # "pull", "download", "upload", "import", "package", "convert" or "verify"
    stage: str
    bytes_done: int
    bytes_total: int | None
    bytes_per_s: float
    status: Status
    error: str | None
    created_at: float  # unix seconds
    finished_at: float | None


class Speed:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def restart(self) -> None:
        """Another stage begins to count."""
        self._samples.clear()

    def note(self, now: float, num_bytes: int) -> float:
        """The speed, now that so many bytes are done."""
        samples = self._samples
        if samples and num_bytes < samples[-1][1]:
            samples.clear()  # it began again
        while len(samples) > 1 and now - samples[1][0] >= _SPEED_WINDOW_S:
            samples.popleft()
        if not samples or now - samples[-1][0] >= _SPEED_STEP_S:
            samples.append((now, num_bytes))
        elapsed_s = now - samples[0][0]
        return (num_bytes - samples[0][1]) / elapsed_s if elapsed_s > 0 else 0.0


class Job:
    """A job that runs or ran. Followers are told when `state` is replaced."""

    def __init__(
        self,
        job_id: str,
        order: Order,
        created_at: float,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_change = on_change
        self.id = job_id
        self.order = order
        self.state = JobState(
            id=job_id,
            model_id=order.model_id,
            action=action_of(order),
            stage="starting",
            bytes_done=0,
            bytes_total=None,
            bytes_per_s=0.0,
            status="running",
            error=None,
            created_at=created_at,
            finished_at=None,
        )
        self.error: BaseException | None = None  # what a failed job ended with
        self._speed = Speed()
        self._changed = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether the state is final. If it is still "running", the server is closing."""
        return self._over.is_set()

    def report(self, stage: str, done: int, total: int | None) -> None:
        """Note how far the work is."""
        if self.is_over:
            return
        if stage != self.state.stage:
            self._speed.restart()
        speed = self._speed.note(time.monotonic(), done)
        self._set(stage=stage, bytes_done=done, bytes_total=total, bytes_per_s=speed)

    def end(self, status: Status, error: BaseException | None = None) -> None:
        """Set the final state. With "running" the next server goes on with the job."""
        self._over.set()
        self.error = error
        self._set(
            status=status,
            error=None if error is None else _describe(error),
            bytes_per_s=0.0,
            finished_at=None if status == "running" else time.time(),
        )

    async def wait(self) -> JobState:
        """Wait for the final state."""
        await self._over.wait()
        return self.state

    async def follow(self) -> AsyncGenerator[JobState, None]:
        """The state now, then its changes, some ten a second at most, up to the last one."""
        while True:
            is_over, changed = self.is_over, self._changed
            yield self.state
            if is_over:
                return
            await changed.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_INTERVAL_S):
                    await self._over.wait()

    def _set(self, **fields: object) -> None:
        self.state = msgspec.structs.replace(self.state, **fields)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._on_change()


def _describe(error: BaseException) -> str:
    if isinstance(error, RegistryError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error} ({error.filename or 'no file named'})."
    return f"An unexpected error, which the log has in full: {error!r}"
