"""One engine child: spawned, loaded, talked to, watched, ended. Owned by `residency`."""

import asyncio
import contextlib
import itertools
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from registry.checkpoint.model import Model
from runtime.processes.child import Child

from .cache_questions import CacheQuestions
from .engine_messages import (
    SAVING_S,
    CacheReport,
    ChunkPass,
    Command,
    Embed,
    EngineSettings,
    Generate,
    LoadError,
    ModelInfo,
    Ping,
    Pong,
    PutAside,
    Ready,
    Report,
    Step,
    Stop,
)
from .engine_rows import EngineRows
from .errors import (
    EngineDied,
    EngineFailed,
    EngineStopped,
    LoadFailed,
    LoadRefused,
    RuntimeFault,
)
from .events import Embedded, Failed, Finished, Loading, RowEvent, SetAside
from .generation import Generation
from .memory import machine
from .requests import Priority, SamplingParams

logger = logging.getLogger(__name__)

_ANY_TOKEN = 0  # that every vocabulary has

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


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

    def __init__(
        self,
        model: Model,
        settings: EngineSettings,
        watch: Watch,
        on_end: Callable[["EngineProcess"], None] = lambda _: None,
        on_pass: Callable[[ChunkPass], None] = lambda _: None,
    ) -> None:
        """`on_end` is told when a loaded engine has ended, before those whose rows it held;
        `on_pass` what passes over prompts take."""
        self.model = model
        self.has_ended = asyncio.Event()
        self.is_stopping = False  # an end from here on is wanted, not a crash
        self.num_rows = 0  # rows the engine said it holds
        self.cache = CacheQuestions(self._send)
        self._settings = settings
        self._watch = watch
        self._on_end = on_end
        self._on_pass = on_pass
        self._child: Child | None = None
        self._info: ModelInfo | None = None  # once it is loaded
        self._rows = EngineRows(
            self._send, lambda: self.death() if self.has_ended.is_set() else None
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._silent_beats = 0
        self._has_worked = False  # since the last beat
        self._is_hung = False
        self._exit_status = 0

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def footprint_bytes(self) -> int:
        return machine.footprint_bytes(self._child.pid) if self._child else 0

    async def start(self, on_loading: Callable[[Loading], None]) -> ModelInfo:
        """Spawn and load. Raises LoadFailed, LoadRefused or EngineDied; the child is gone then."""
        settings = msgspec.json.encode(self._settings).decode()
        child = await Child.spawn("runtime.engine", str(self.model.folder), settings)
        self._child = child
        try:
            while (payload := await self._next_of_load(child)) is not None:
                match _decoder.decode(payload):
                    case Loading() as progress:
                        on_loading(progress)
                    case LoadError(message, code):
                        told = f"Model '{self.model.id}' could not be loaded: {message}"
                        raise LoadFailed(told) if code is None else LoadRefused(told, code)
                    case Ready(info):
                        self._info = info
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
            try:
                await child.kill()
            finally:  # whoever is cancelled once more here has sent the signal
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
        self, number: int, generation: Generation, priority: Priority
    ) -> Finished | SetAside:
        """Draw on: the generation is told all text; what is returned ends the row, not always it.

        Leaving early cancels the row. Raises EngineFailed, or what `fail_all` was given.
        """
        value = generation.prompt, generation.sampling, generation.drawn
        with self._rows.row(number, generation) as ended, generation.row():
            self._send(Generate(number, *value, priority, generation.form, generation.borders))
            event = await ended
        if isinstance(event, SetAside):
            generation.put(event)
        elif not isinstance(event, Finished):
            raise _failure(event)
        return event

    async def probe(self, number: int) -> None:
        """Have it compute one token, or one vector; an engine that is broken is ended.

        After a sleep its loop may run, and its device not. One that does not come back from there
        is silent, and ended for that.
        """
        work: Generate | Embed = Embed(number, [[_ANY_TOKEN]])
        if self._info is not None and self._info.kind == "llm":
            work = Generate(number, [_ANY_TOKEN], SamplingParams(temperature=0, max_tokens=1))
        with contextlib.suppress(RuntimeFault), self._rows.row(number) as ended:  # it ended anyway
            self._send(work)
            event = await ended
            if isinstance(event, Failed) and event.is_broken and self._child is not None:
                logger.error("the engine of %s is ended: %s", self.model.id, event.message)
                await self._child.kill()

    def put_aside(self, number: int) -> None:
        """Have a row leave the batch, to be continued later: its `generate` returns soon."""
        self._send(PutAside(number))

    async def encode(
        self,
        number: int,
        inputs: list[list[int]],
        first_lengths: list[int] | None = None,
        dimensions: int | None = None,
        priority: Priority = "interactive",
    ) -> Embedded:
        """A vector per input, or a score. Leaving (cancelling) drops what is left of the inputs.

        Raises as `generate` does.
        """
        with self._rows.row(number) as ended:
            self._send(Embed(number, inputs, first_lengths or [], dimensions, priority))
            event = await ended
        if isinstance(event, Embedded):
            return event
        raise _failure(event)

    def fail_all(self, fault: RuntimeFault) -> None:
        """End every running row with this fault."""
        self._rows.fail(fault)

    async def stop(self) -> None:
        """End the child: asked first, killed after the grace. Running rows get EngineStopped."""
        self.is_stopping = True
        if self._child is not None:
            self._send(Stop())
            await self._child.stop(self._stop_grace_s)
            await self.has_ended.wait()

    @property
    def _stop_grace_s(self) -> float:
        saving_s = 0.0 if self._settings.disk_cache is None else SAVING_S
        return self._watch.stop_grace_s + saving_s

    def _send(self, command: Command) -> None:
        if self._child is not None:
            self._child.send(_encoder.encode(command))

    async def _receive(self, child: Child) -> None:
        """Hand reports on until the child's end, then fail what still runs."""
        try:
            while (payload := await child.receive()) is not None:
                self._silent_beats = 0
                match _decoder.decode(payload):
                    case Step(events, num_rows, largest_pass):
                        self.num_rows, self._has_worked = num_rows, True
                        if largest_pass is not None:
                            self._on_pass(largest_pass)
                        for event in events:
                            self._rows.put(event)
                    case CacheReport() as report:
                        self.cache.answer(report)
                    case Pong():
                        pass
        except ValueError:  # also a frame that msgspec cannot decode
            logger.exception("the engine of %s talks nonsense, so it is ended", self.model.id)
        finally:
            # It ends by itself now; to kill it at once would hide the signal that ended it.
            grace_s = self._stop_grace_s if self.is_stopping else 1.0
            self._exit_status = await child.stop(grace_s)
            self._tasks[1].cancel()
            self.num_rows = 0
            self.has_ended.set()
            self._on_end(self)
            self.fail_all(self.death())
            self.cache.fail(self.death())

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
            if self._has_worked:
                self._has_worked = False
                self.cache.refresh()
            self._rows.cancel_unread(self._watch.stall_limit_s)

    def death(self) -> EngineDied:
        """What its rows are told when it has ended."""
        if self.is_stopping:
            return EngineStopped(f"Model '{self.model.id}' was unloaded while this request ran.")
        if self._is_hung:
            seconds = self._watch.silent_beats * self._watch.beat_s
            reason = f"it did not answer for {seconds:g} s and was ended"
        else:
            reason = _describe_exit(self._exit_status)
        return EngineDied(f"The engine of '{self.model.id}' died ({reason}).", reason)


def _failure(event: RowEvent) -> EngineFailed:
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
