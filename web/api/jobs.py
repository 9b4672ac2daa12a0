"""/jobs: what is being fetched, converted and verified; list, follow, cancel.

As a WebSocket it tells of all jobs at once, those that begin later too.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import msgspec
from quart import Blueprint, Response, request, websocket

from registry.checkpoint.config import Json
from registry.jobs.job import JobState
from registry.jobs.jobs import Jobs
from web.dialect import Dialect
from web.door.body import decode
from web.errors import ApiError
from web.services import Services
from web.transport import sse
from web.transport.encoding import encode
from web.transport.reply import json_reply
from web.transport.socket import Message, Socket


class _Cancel(msgspec.Struct):
    """The message that ends a job."""

    id: str


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The routes of one dialect."""
    jobs = services.jobs
    routes = Blueprint(f"{dialect.name}-jobs", __name__, url_prefix=dialect.base)

    @routes.get("/jobs")
    async def list_jobs() -> Response:
        return json_reply({"object": "list", "data": [describe(job.state) for job in jobs.list()]})

    @routes.get("/jobs/<job_id>")
    async def show_job(job_id: str) -> Response:
        job = jobs.get(job_id)
        if wants_events(request.headers.get("Accept")):
            return sse.reply(_states(jobs, job_id), services.settings.heartbeat_s)
        return json_reply(describe(job.state))

    @routes.delete("/jobs/<job_id>")
    async def cancel_job(job_id: str) -> Response:
        return json_reply(describe(await jobs.cancel(job_id)))

    @routes.websocket("/jobs")
    async def jobs_socket() -> None:
        await services.sockets.serve(websocket, dialect, lambda socket: JobsChannel(socket, jobs))

    return routes


def wants_events(accept: str | None) -> bool:
    """Whether an Accept header asks for a stream of events."""
    return "text/event-stream" in (accept or "")


def describe(state: JobState) -> dict[str, Json]:
    """A job on the wire."""
    value: dict[str, Json] = {"id": state.id, "object": "job", "model": state.model_id}
    fields: dict[str, Json] = msgspec.to_builtins(state)
    del fields["id"], fields["model_id"]
    return value | fields


async def _states(jobs: Jobs, job_id: str) -> AsyncGenerator[bytes, None]:
    """One event a change, at most some ten a second; the stream ends with the job."""
    async for state in jobs.follow(job_id):
        yield sse.data(describe(state))


class JobsChannel:
    """A `progress` frame for every job, and for every change of one; `job.cancel` ends a job."""

    def __init__(self, socket: Socket, jobs: Jobs) -> None:
        self._socket = socket
        self._jobs = jobs
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "JobsChannel":
        self._spawn(self._tell())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def receive(self, message: Message, body: bytes) -> None:
        """See `socket.Channel`."""
        if message.type != "job.cancel":
            raise ApiError(
                400,
                f"'type' is {message.type[:100]!r}; this socket knows job.cancel.",
                param="type",
            )
        job = self._jobs.get(decode(body, _Cancel).id)
        self._spawn(self._jobs.cancel(job.id))  # which waits until the job has ended

    async def _tell(self) -> None:
        async for state in self._jobs.watch():
            await self._socket.send(encode({"type": "progress", "job": describe(state)}))

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
