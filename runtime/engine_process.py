"""One engine child: spawned, loaded, talked to, watched, ended. Owned by `residency`."""

import asyncio
import contextlib
import itertools
import logging
import signal
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from registry.checkpoint.model import Model
from runtime.processes.child import Child

from . import machine
from .engine_messages import (
    Cancel,
    Command,
    Embed,
    EngineSettings,
    Generate,
    LoadError,
    ModelInfo,
    Ping,
    Pong,
    Ready,
    Report,
    Step,
    Stop,
)
from .errors import EngineDied, EngineFailed, LoadFailed, RuntimeFault, Stalled
from .events import Embedded, Failed, Finished, Loading, Prefill, Queued, RowEvent, TextDelta
from .mailbox import Mailbox
from .requests import SamplingParams

logger = logging.getLogger(__name__)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
_row_ids = itertools.count(1)


@dataclass(frozen=True)
class Watch:
    """How an engine is watched. Counted in beats, so that a machine that slept kills nothing."""

    beat_s: float = 1.0
    silent_beats: int = 30  # beats without a report before the engine counts as hung
    stall_limit_s: float = 30.0  # how long a reader may leave its events lying
    load_silence_s: float = 120.0  # without progress of a load, which tells of every 64 MB
    stop_grace_s: float = 5.0


class EngineProcess:
    """A child with one model. `start` once; after `has_ended` is set it is of no more use."""

    def __init__(self, model: Model, settings: EngineSettings, watch: Watch) -> None:
        self.model = model
        self.has_ended = asyncio.Event()
        self.is_stopping = False  # an end from here on is wanted, not a crash
        self.num_rows = 0  # rows the engine said it holds
        self._settings = settings
        self._watch = watch
        self._child: Child | None = None
        self._mailboxes: dict[int, Mailbox] = {}  # in the order of their coming
        self._positions: dict[int, int] = {}  # rows that wait, and how many in front of them
        self._tasks: list[asyncio.Task[None]] = []
        self._silent_beats = 0
        self._is_hung = False
        self._exit_status = 0

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def is_busy(self) -> bool:
        """Whether requests still read from this engine."""
        return bool(self._mailboxes)

    def footprint_bytes(self) -> int:
        return machine.footprint_bytes(self._child.pid) if self._child else 0

    async def start(self, on_loading: Callable[[Loading], None]) -> ModelInfo:
        """Spawn and load. Raises LoadFailed or EngineDied; the child is gone then."""
        settings = msgspec.json.encode(self._settings).decode()
        child = await Child.spawn("runtime.engine", str(self.model.folder), settings)
        self._child = child
        try:
            while (payload := await self._next_of_load(child)) is not None:
                match _decoder.decode(payload):
                    case Loading() as progress:
                        on_loading(progress)
                    case LoadError(message):
                        raise LoadFailed(f"Model '{self.model.id}' could not be loaded: {message}")
                    case Ready(info):
                        self._tasks = [
                            asyncio.create_task(self._receive(child)),
                            asyncio.create_task(self._beat()),
                        ]
                        return info
            raise EngineDied(
                f"The engine of '{self.model.id}' ended while it loaded the model "
                f"({_describe_exit(await child.kill())})."
            )
        except BaseException:
            await child.kill()
            self.has_ended.set()
            raise

    async def _next_of_load(self, child: Child) -> bytes | None:
        """Raises EngineDied when a load stands still: a loop that does not run yet has no beat."""
        limit_s = self._watch.load_silence_s
        try:
            async with asyncio.timeout(limit_s):
                return await child.receive()
        except TimeoutError:
            raise EngineDied(
                f"The engine of '{self.model.id}' came no further for {limit_s:g} s while it "
                "loaded the model, and was ended."
            ) from None

    async def generate(
        self, tokens: list[int], sampling: SamplingParams
    ) -> AsyncGenerator[Queued | Prefill | TextDelta | Finished, None]:
        """One row's events up to `Finished`; `Queued` whenever it moves up in the queue.

        Leaving early cancels the row. Raises EngineFailed, or what `fail_all` was given.
        """
        with self._mailbox() as (row_id, mailbox):
            if (position := len(self._mailboxes) - self._settings.max_rows) > 0:
                self._positions[row_id] = position
            self._send(Generate(row_id, tokens, sampling))
            while True:
                event = await mailbox.get()
                if isinstance(event, (Failed, Embedded)):
                    raise _failure(event)
                yield event
                if isinstance(event, Finished):
                    return

    async def encode(
        self,
        inputs: list[list[int]],
        first_lengths: list[int] | None = None,
        dimensions: int | None = None,
    ) -> Embedded:
        """A vector per input, or a score. Leaving (cancelling) drops what is left of the inputs.

        Raises as `generate` does.
        """
        with self._mailbox() as (row_id, mailbox):
            self._send(Embed(row_id, inputs, first_lengths or [], dimensions))
            event = await mailbox.get()
            if not isinstance(event, Embedded):
                raise _failure(event)
            return event

    @contextmanager
    def _mailbox(self) -> Iterator[tuple[int, Mailbox]]:
        """A new row's id and mailbox; a row that is not finished at the end is cancelled."""
        row_id = next(_row_ids)
        mailbox = self._mailboxes[row_id] = Mailbox()
        if self.has_ended.is_set():
            mailbox.fail(self._died())
        try:
            yield row_id, mailbox
        finally:
            if self._mailboxes.pop(row_id, None) is not None and not mailbox.is_finished:
                self._send(Cancel(row_id))
            self._positions.pop(row_id, None)
            self._move_up()

    def _move_up(self) -> None:
        """Tell the rows that wait where they stand, now that one has left."""
        if not self._positions:
            return
        for index, (row_id, mailbox) in enumerate(self._mailboxes.items()):
            position = max(0, index + 1 - self._settings.max_rows)
            if row_id in self._positions and position != self._positions[row_id]:
                self._positions[row_id] = position
                mailbox.put(Queued(row_id, position))
                if position == 0:
                    del self._positions[row_id]

    def fail_all(self, fault: RuntimeFault) -> None:
        """End every running row with this fault."""
        for mailbox in self._mailboxes.values():
            mailbox.fail(fault)

    async def stop(self) -> None:
        """End the child: asked first, killed after the grace. Running rows get EngineDied."""
        self.is_stopping = True
        if self._child is not None:
            self._send(Stop())
            await self._child.stop(self._watch.stop_grace_s)
            await self.has_ended.wait()

    def _send(self, command: Command) -> None:
        if self._child is not None:
            self._child.send(_encoder.encode(command))

    async def _receive(self, child: Child) -> None:
        """Hand reports on until the child's end, then fail what still runs."""
        try:
            while (payload := await child.receive()) is not None:
                self._silent_beats = 0
                match _decoder.decode(payload):
                    case Step(events, num_rows):
                        self.num_rows = num_rows
                        for event in events:
                            self._positions.pop(event.id, None)  # it waits no more
                            # A row that was cancelled has no mailbox any more.
                            if (mailbox := self._mailboxes.get(event.id)) is not None:
                                mailbox.put(event)
                    case Pong():
                        pass
        except ValueError:  # also a frame that msgspec cannot decode
            logger.exception("the engine of %s talks nonsense, so it is ended", self.model.id)
        finally:
            # It ends by itself now; to kill it at once would hide the signal that ended it.
            grace_s = self._watch.stop_grace_s if self.is_stopping else 1.0
            self._exit_status = await child.stop(grace_s)
            self._tasks[1].cancel()
            self.num_rows = 0
            self.has_ended.set()
            self.fail_all(self._died())

    async def _beat(self) -> None:
        """Ping the engine's loop, kill it when it is silent, and end rows that nobody reads."""
        for number in itertools.count():
            await asyncio.sleep(self._watch.beat_s)
            self._silent_beats += 1
            if self._silent_beats > self._watch.silent_beats and self._child is not None:
                self._is_hung = True
                await self._child.kill()
                return
            self._send(Ping(number))
            for row_id, mailbox in list(self._mailboxes.items()):
                if mailbox.unread_s() > self._watch.stall_limit_s:
                    limit = self._watch.stall_limit_s
                    mailbox.fail(Stalled(f"The client read nothing for {limit:g} s."))
                    self._send(Cancel(row_id))

    def _died(self) -> EngineDied:
        if self.is_stopping:
            return EngineDied(f"Model '{self.model.id}' was unloaded while this request ran.")
        if self._is_hung:
            seconds = self._watch.silent_beats * self._watch.beat_s
            reason = f"it did not answer for {seconds:g} s and was ended"
        else:
            reason = _describe_exit(self._exit_status)
        return EngineDied(
            f"The engine of '{self.model.id}' died ({reason}). The next request starts a new one."
        )


def _failure(event: Queued | RowEvent) -> EngineFailed:
    if isinstance(event, Failed):
        return EngineFailed(event.message)
    return EngineFailed(f"The engine answered with {type(event).__name__}, which was not asked.")


def _describe_exit(status: int) -> str:
    """An exit status in words: a negative one is a signal."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-status).name}"
    return f"signal {-status}"
