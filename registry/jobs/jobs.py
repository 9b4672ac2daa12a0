"""The jobs of one server: started, joined, followed, cancelled, and gone on with after a restart.

An order is kept in HOME/jobs until its job has ended, so that the next server goes on with it. A
model's `Ownership` is held meanwhile, so that of two servers on one home only one works on a model.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from registry.errors import JobNotFound, ModelBusy, ModelExists, RegistryError
from registry.store import durable
from registry.store.ownership import Ownership
from registry.store.store import Store
from registry.threads import in_thread

from . import provision
from .acquire import ProvisionSettings, Receive
from .job import FOLLOW_INTERVAL_S, Job, JobState
from .order import Order
from .provision import Runner

logger = logging.getLogger(__name__)

_NUM_REMEMBERED = 100  # jobs that have ended


class _Saved(msgspec.Struct, frozen=True):
    """HOME/jobs/ID.json."""

    id: str
    created_at: float
    order: Order


class Jobs:
    """Owned by one event loop. `resume` at its start, `close` at its end."""

    def __init__(
        self, store: Store, settings: ProvisionSettings, run: Runner = provision.run
    ) -> None:
        self._store = store
        self.settings = settings  # where its downloads may go
        self._run = run
        self._folder = store.home / "jobs"
        self._lock = store.home / "jobs.lock"
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()  # set at the next change of any job
        self._is_closing = False

    def list(self) -> list[Job]:
        """All that run and the last that ended, oldest first."""
        return sorted(self._jobs.values(), key=lambda job: job.state.created_at)

    def get(self, job_id: str) -> Job:
        """Raises JobNotFound."""
        if (job := self._jobs.get(job_id)) is None:
            raise JobNotFound(job_id)
        return job

    def running(self, model_id: str) -> Job | None:
        """The job that is at work on a model in this server."""
        for job in self._jobs.values():
            if job.order.model_id == model_id and not job.is_over:
                return job
        return None

    def start(self, order: Order, receive: Receive | None = None) -> Job:
        """Start a job, or join the one that does the same already. `receive` brings an upload.

        Raises ModelBusy, and what `provision.check` raises.
        """
        self.refuse_when_closing()
        if (running := self.running(order.model_id)) is not None:
            if running.order == order and receive is None:
                return running
            raise ModelBusy(order.model_id, running.state.action)
        provision.check(order, self._store)
        job = Job(secrets.token_hex(8), order, time.time(), self._note_change)
        owned = self._store.own(order.model_id, job.state.action)
        self._launch(job, owned, receive)
        return job

    def refuse_when_closing(self) -> None:
        """Raises RegistryError from the beginning of `close` on."""
        if self._is_closing:
            raise RegistryError("The server is shutting down. Ask again when it is back.")

    async def cancel(self, job_id: str) -> JobState:
        """End a job and wait until it has; what it acquired stays for the next. Raises JobNotFound.

        One that is already publishing its model finishes instead.
        """
        job = self.get(job_id)
        if (task := self._tasks.get(job_id)) is not None:
            task.cancel()
        return await job.wait()

    def follow(self, job_id: str) -> AsyncGenerator[JobState, None]:
        """The job's state now and every change, up to the last. Raises JobNotFound at once."""
        return self.get(job_id).follow()

    async def watch(self) -> AsyncGenerator[JobState, None]:
        """The state of every job now, then their changes, some ten a second each; without end."""
        told: dict[str, JobState] = {}
        while True:
            changed, jobs = self._changed, self.list()
            for job in jobs:
                if told.get(job.id) is not job.state:
                    told[job.id] = job.state
                    yield job.state
            told = {job.id: told[job.id] for job in jobs}
            await changed.wait()
            await asyncio.sleep(FOLLOW_INTERVAL_S)

    def _note_change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def resume(self) -> None:
        """Go on with the jobs that a server left, not with those of one that still runs."""
        await asyncio.to_thread(self._sweep)
        for path in sorted(self._folder.glob("*.json")):
            try:
                saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
                self._resume(path, saved)
            except FileNotFoundError:
                pass  # its job ended in another server a moment ago
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                logger.warning("%s cannot be read, so its job is left out: %s", path, error)
                path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Stop all jobs where they are; the next server goes on with them. May be called again."""
        if not self._is_closing:
            self._is_closing = True
            for task in self._tasks.values():
                task.cancel()
        for job in list(self._jobs.values()):
            await job.wait()

    def _resume(self, path: Path, saved: _Saved) -> None:
        job = Job(saved.id, saved.order, saved.created_at, self._note_change)
        try:
            owned = self._store.own(saved.order.model_id, job.state.action)
        except ModelBusy:
            return
        try:
            provision.check(saved.order, self._store)
        except ModelExists:  # it was published just before the last server died
            owned.discard()
            job.end("done")
        except RegistryError as error:
            job.end("failed", error)
        if not job.is_over and path.exists():
            self._launch(job, owned, None)
            return
        # It ended here, or in the other server since the file was read.
        path.unlink(missing_ok=True)
        owned.release()
        if job.is_over:
            self._remember(job)

    def _launch(self, job: Job, owned: Ownership, receive: Receive | None) -> None:
        task = asyncio.create_task(self._work(job, owned, receive), name=f"job {job.id}")
        self._tasks[job.id] = task
        self._remember(job)
        # Not in the task itself: one that is cancelled before its first step runs nothing at all.
        task.add_done_callback(lambda done: self._ended(job, owned, done))

    async def _work(self, job: Job, owned: Ownership, receive: Receive | None) -> None:
        await in_thread(lambda _: self._save(job), lambda _: None)
        await self._run(job.order, self._store, self.settings, job.report, owned, receive)

    def _sweep(self) -> None:
        """Remove what a killed server left half-written."""
        self._store.sweep()
        if self._folder.is_dir():
            with durable.locked(self._lock):
                durable.sweep(self._folder)

    def _save(self, job: Job) -> None:
        durable.make_folder(self._folder)
        saved = _Saved(job.id, job.state.created_at, job.order)
        with durable.locked(self._lock):
            durable.replace(self._path(job), msgspec.json.encode(saved))

    def _ended(self, job: Job, owned: Ownership, task: asyncio.Task[None]) -> None:
        del self._tasks[job.id]
        is_left = task.cancelled() and self._is_closing
        if not is_left:
            # Before the release: another server would take it for a job to go on with.
            with contextlib.suppress(OSError):
                self._path(job).unlink()
        owned.release()
        if task.cancelled():
            job.end("running" if is_left else "cancelled")
        elif (error := task.exception()) is not None:
            _log(job, error)
            job.end("failed", error)
        else:
            job.end("done")
        self._remember(job)

    def _remember(self, job: Job) -> None:
        self._jobs[job.id] = job
        over = [job for job in self.list() if job.is_over]
        for old in over[:-_NUM_REMEMBERED]:
            del self._jobs[old.id]
        self._note_change()

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.id}.json"


def _log(job: Job, error: BaseException) -> None:
    """Log a failure, with its traceback unless it is of a kind that is expected."""
    if isinstance(error, (RegistryError, OSError)):
        logger.warning("Job %s (%s) failed: %s", job.id, job.state.action, error)
    else:
        logger.error("Job %s (%s) failed", job.id, job.state.action, exc_info=error)
