"""One model's place in memory: its engine, the load in flight, its requests and their stats."""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.model import Model
from registry.checkpoint.model_memory import ModelMemory

from .engine_messages import ModelInfo
from .engine_process import EngineProcess
from .errors import CrashLoop, InvalidRequest, QueueFull, Unavailable
from .events import Finished, Loading
from .memory.calibration import Calibration
from .power import awake
from .schedule import Schedule
from .tally import Tally

Outcome: TypeAlias = Literal["finished", "cancelled", "refused", "failed"]

_CRASH_WINDOW_S = 60.0
_MAX_CRASHES = 5  # within the window; then no new engine until it has passed
_FIRST_BACKOFF_S = 0.5
_TELLING_TOKENS = 128  # fewer that were read tell what a pass costs, not how fast tokens are read


class CrashHistory:
    """When an engine of this model died, and how long to wait before the next."""

    def __init__(self, clock: Callable[[], float] = awake.now) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=_MAX_CRASHES)

    def add(self) -> None:
        self._times.append(self._clock())

    @property
    def is_looping(self) -> bool:
        return len(self._recent()) == _MAX_CRASHES

    def check(self, model_id: str) -> None:
        """Raises CrashLoop while there were too many crashes lately."""
        if self.is_looping:
            wait_s = math.ceil(self._times[0] + _CRASH_WINDOW_S - self._clock())
            raise CrashLoop(
                f"The engine of '{model_id}' died {_MAX_CRASHES} times within "
                f"{_CRASH_WINDOW_S:g} s and is not started again for {wait_s} s. "
                "The server's log says why.",
                retry_after_s=max(1, wait_s),
            )

    def backoff_s(self) -> float:
        """How long to wait before the next start: nothing after a first crash, then doubling."""
        recent = self._recent()
        if len(recent) < 2:
            return 0.0
        pause: float = _FIRST_BACKOFF_S * 2 ** (len(recent) - 2)
        return max(0.0, recent[-1] + pause - self._clock())

    def _recent(self) -> list[float]:
        return [at for at in self._times if self._clock() - at < _CRASH_WINDOW_S]


class Load:
    """A load in flight, watched by everybody who waits for it. One waiter leaving stops nothing."""

    def __init__(self, total_bytes: int, needed_bytes: int) -> None:
        """`needed_bytes` are what it was admitted with: weights in memory, and the process."""
        self.progress = Loading(0, total_bytes)
        self.needed_bytes = needed_bytes
        self.engine: EngineProcess | None = None  # whose memory counts already
        self.task: asyncio.Task[EngineProcess] | None = None
        self._changed = asyncio.Event()

    def report(self, progress: Loading) -> None:
        self.progress = progress
        self._changed.set()
        self._changed = asyncio.Event()

    async def watch(self) -> AsyncGenerator[Loading, None]:
        """Progress until the load is over; then `task` tells how it went."""
        assert self.task is not None, "started before it is watched"
        yield self.progress
        while not self.task.done():
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({changed, self.task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            yield self.progress


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What an unload gave back, measured on this process and all its children."""

    id: str
    resident_before: int  # bytes, when the engine's end began
    resident_after: int

    @property
    def freed_bytes(self) -> int:
        """Others may have grown meanwhile."""
        return max(0, self.resident_before - self.resident_after)


@dataclass
class RequestStats:
    """What a model's requests added up to."""

    num_requests: int = 0
    tokens_per_second: float | None = None
    decoded_tokens: int = 0
    decode_s: float = 0.0
    request_s: float = 1.0  # a moving average, for Retry-After
    prefilled_per_s: float = 0.0  # tokens; rises at once and falls slowly; 0: not known
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    calibration: Calibration = field(default_factory=Calibration)  # of the model of memory

    @contextmanager
    def count(self) -> Iterator[Callable[[], None]]:
        """Note how a request ends: every one ends in exactly one way.

        Call what it yields once the whole answer is out: who leaves after that was answered.
        """
        outcome: Outcome = "failed"

        def finish() -> None:
            nonlocal outcome
            outcome = "finished"

        try:
            yield finish
            finish()
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "finished" if outcome == "finished" else "cancelled"
            raise
        except (QueueFull, InvalidRequest, Unavailable):
            outcome = "refused"
            raise
        finally:
            self.outcomes[outcome] += 1

    def add(self, finished: Finished, elapsed_s: float, weight_bytes: int = 0) -> None:
        """`weight_bytes` are the model's, as far as they are known."""
        self.add_request(elapsed_s)
        timings = finished.timings
        self.calibration.add(timings.predicted_bytes, timings.measured_bytes, weight_bytes)
        usage, prefill_s = finished.usage, finished.timings.prefill_s
        num_read = usage.prompt_tokens - usage.cached_tokens
        if num_read >= _TELLING_TOKENS and prefill_s > 0:
            speed = num_read / prefill_s
            self.prefilled_per_s = max(speed, 0.9 * self.prefilled_per_s + 0.1 * speed)
        # The first token is drawn by the prefill's last pass: the rest took the decode's time.
        count, seconds = finished.usage.completion_tokens - 1, finished.timings.decode_s
        if count > 0 and seconds > 0:
            self.tokens_per_second = count / seconds
            self.decoded_tokens += count
            self.decode_s += seconds

    def add_request(self, elapsed_s: float) -> None:
        self.num_requests += 1
        self.request_s += 0.2 * (elapsed_s - self.request_s)

    @property
    def avg_tokens_per_second(self) -> float | None:
        return self.decoded_tokens / self.decode_s if self.decode_s else None


class Headcount:
    """How many there are, and a signal for those who wait until the last has left."""

    def __init__(self) -> None:
        self.number = 0
        self._nobody_left = asyncio.Event()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        self.number += 1
        self._nobody_left.clear()
        try:
            yield
        finally:
            self.number -= 1
            if self.number == 0:
                self._nobody_left.set()

    async def nobody(self) -> None:
        """Wait until there is none. Returns at once when there is none now."""
        while self.number:  # whoever comes before the waiter goes on is waited for too
            await self._nobody_left.wait()


@dataclass(eq=False)
class Slot:
    """Mutable; owned by the residency and touched on its event loop only."""

    model: Model
    keep_alive_s: float
    schedule: Schedule
    engine: EngineProcess | None = None
    info: ModelInfo | None = None
    memory: ModelMemory | None = None  # what it takes, once that was asked for
    chat_format: ChatFormat | None = None
    load: Load | None = None
    unloading: "asyncio.Task[Unloaded] | None" = None
    is_pinned: bool = False  # until it is unloaded or unpinned by hand
    is_kept: bool = False  # a request said for ever: until another says less
    requests: Headcount = field(default_factory=Headcount)  # admitted and not yet ended
    # Of these, those that were given the engine, or the load to wait for: an unload waits for them.
    users: Headcount = field(default_factory=Headcount)
    stats: RequestStats = field(default_factory=RequestStats)
    tally: Tally = field(default_factory=Tally)
    crashes: CrashHistory = field(default_factory=CrashHistory)
    load_s: float | None = None  # how long the last load took
    loaded_at: float = 0.0  # unix time
    last_used: float = 0.0  # unix time, for people
    idle_since: float = field(default_factory=awake.now)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Held by a request from its admission to its end: the model is not idle meanwhile."""
        try:
            with self.requests.one_more():
                yield
        finally:
            self.idle_since = awake.now()
            self.last_used = time.time()

    def keep(self, keep_alive_s: float) -> None:
        """From now on it is unloaded after being idle for so long; inf: it stays, as if pinned."""
        self.keep_alive_s = keep_alive_s
        self.is_kept = math.isinf(keep_alive_s)

    @property
    def stays(self) -> bool:
        """Whether it may not be unloaded for another model."""
        return self.is_pinned or self.is_kept

    @property
    def is_as_wished(self) -> bool:
        """Whether the engine holds the KV cache in as many bits as were last asked for."""
        wish = self.model.kv_bits
        return wish is None or self.info is None or self.info.kv_bits == wish

    @property
    def is_idle(self) -> bool:
        """Loaded, and nobody uses it."""
        return self.engine is not None and self.requests.number == 0 and self.unloading is None

    @property
    def is_evictable(self) -> bool:
        """Whether it may be unloaded for another one."""
        return self.is_idle and not self.stays

    @property
    def expires_in_s(self) -> float | None:
        """Seconds until an idle model is unloaded; None: it stays."""
        if self.is_pinned or math.isinf(self.keep_alive_s):
            return None
        if self.requests.number:
            return self.keep_alive_s
        return max(0.0, self.idle_since + self.keep_alive_s - awake.now())
