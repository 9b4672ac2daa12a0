"""The web process's side of the text workers: who gets the next job, and who is killed.

A template comes with its model, from strangers, and may loop for ever. So that others do not wait:
a folder has one job running at a time (and one more for short messages beside long ones), a folder
without a good reply so far never takes the last idle worker, and a late worker is killed and
replaced.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from runtime.errors import Draining, Unavailable
from runtime.processes.child import Child

from .text_messages import Job, Refusal, Reply

logger = logging.getLogger(__name__)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How many workers there are, and how long one may take."""

    num_workers: int = 2
    deadline_s: float = 2.0
    deadline_s_per_mb: float = 4.0  # a long prompt takes long to tokenize
    short_chars: int = 100_000  # up to here a prompt is read in milliseconds
    start_s: float = 20.0  # how long a new worker may take to get ready
    tokenizer_s_per_mb: float = 0.2  # the first job with a folder reads its tokenizer.json
    slow_tokenizer_s: float = 15.0  # where there is none, it is made of what else is there
    take_s: float = 30.0  # how long a job waits for a worker


class TextWorkers:
    """All methods run on one event loop."""

    def __init__(self, settings: TextSettings = TextSettings()) -> None:
        self._settings = settings
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._turns: defaultdict[tuple[Path, bool], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._proven: set[Path] = set()  # folders with a good reply, and no timeout since
        self._changed = asyncio.Condition()
        self._spawns: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def is_alive(self) -> bool:
        """Whether a worker lives, or one is on its way."""
        return bool(self._all or self._spawns)

    async def start(self) -> None:
        """Begin to spawn the workers; they get ready while the server starts."""
        for _ in range(self._settings.num_workers):
            self._begin(self._spawn())

    async def close(self) -> None:
        """End every worker. Requests that still want one get Draining."""
        self._is_closed = True
        for task in self._spawns:
            task.cancel()
        await asyncio.gather(*self._spawns, return_exceptions=True)
        await asyncio.gather(*(self._retire(worker) for worker in self._all))
        async with self._changed:
            self._changed.notify_all()

    async def do(self, job: Job, num_chars: int) -> Reply:
        """A worker's reply to a job that has so many characters to read.

        Raises TimeoutError after the job's deadline, or Unavailable.
        """
        folder, content = Path(job.folder), _encoder.encode(job)
        async with self._turns[folder, num_chars > self._settings.short_chars]:
            for _ in range(2):
                worker = await self._take(folder)
                payload = await self._ask(worker, content, job.deadline_s, folder)
                if payload is not None:
                    reply = _decoder.decode(payload)
                    if not isinstance(reply, Refusal):
                        self._proven.add(folder)
                    return reply
        raise Unavailable("The process that reads messages died twice over this request.")

    def deadline_s(self, folder: Path, num_chars: int) -> float:
        """How long a job with so many characters may take."""
        settings = self._settings
        try:
            num_bytes = (folder / "tokenizer.json").stat().st_size
            load_s = settings.tokenizer_s_per_mb * num_bytes / 1e6
        except OSError:
            load_s = settings.slow_tokenizer_s
        return settings.deadline_s + load_s + settings.deadline_s_per_mb * num_chars / 1e6

    async def _ask(self, worker: Child, job: bytes, limit_s: float, folder: Path) -> bytes | None:
        """A worker's reply, None if it died. Then it is idle again, or killed and replaced."""
        payload: bytes | None = None
        try:
            async with asyncio.timeout(limit_s):
                worker.send(job)
                payload = await worker.receive()
                return payload
        except TimeoutError:
            self._proven.discard(folder)
            raise
        finally:
            # If the caller was cancelled, its reply is still to come: the next job would read it.
            if payload is None:
                self._replace(worker)
            else:
                await self._give_back(worker)

    async def _take(self, folder: Path) -> Child:
        needed = 1 if folder in self._proven else min(2, self._settings.num_workers)
        try:
            async with asyncio.timeout(self._settings.take_s), self._changed:
                while True:
                    await self._changed.wait_for(
                        lambda: self._is_closed or len(self._idle) >= needed
                    )
                    if self._is_closed:
                        raise Draining
                    worker = self._idle.pop()
                    if worker.is_running:
                        return worker
                    self._replace(worker)  # it was killed while it waited
        except TimeoutError:
            raise Unavailable(
                "No process that reads messages is free. Try again in a moment."
            ) from None

    async def _give_back(self, worker: Child) -> None:
        async with self._changed:
            self._idle.append(worker)
            self._changed.notify_all()

    def _replace(self, worker: Child) -> None:
        # `close` retires them all, also under a request that runs; none may come after it.
        if not self._is_closed:
            self._begin(self._spawn(), self._retire(worker))

    def _begin(self, *steps: Coroutine[Any, Any, None]) -> None:
        """Run each of these in the background; `close` ends them, and waits for their ends."""
        for step in steps:
            task = asyncio.create_task(step)
            self._spawns.add(task)
            task.add_done_callback(self._spawns.discard)

    async def _spawn(self) -> None:
        """Start a worker, again and again until one gets ready: without it nothing is read."""
        for pause_s in itertools.chain((1, 2, 5), itertools.repeat(15)):
            try:
                worker = await Child.spawn("runtime.text")
            except OSError:
                logger.exception("a text worker could not be started")
            else:
                self._all.add(worker)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.start_s):
                        if await worker.receive() is not None:  # it greets when it is ready
                            await self._give_back(worker)
                            return
                await self._retire(worker)
                logger.error("a text worker did not get ready")
            await asyncio.sleep(pause_s)

    async def _retire(self, worker: Child) -> None:
        await worker.kill()
        self._all.discard(worker)
