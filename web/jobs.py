"""/jobs: what is being fetched, converted and verified; list, follow, cancel."""

from collections.abc import AsyncGenerator

import msgspec
from quart import Blueprint, Response, request

from registry.job import JobState
from registry.jobs import Jobs
from runtime.protocol import Json

from . import sse
from .dialect import Dialect
from .reply import json_reply
from .settings import WebSettings


def blueprint(dialect: Dialect, settings: WebSettings, jobs: Jobs) -> Blueprint:
    """The routes of one dialect."""
    routes = Blueprint(f"{dialect.name}-jobs", __name__, url_prefix=dialect.base)

    @routes.get("/jobs")
    async def list_jobs() -> Response:
        return json_reply({"object": "list", "data": [describe(job.state) for job in jobs.list()]})

    @routes.get("/jobs/<job_id>")
    async def show_job(job_id: str) -> Response:
        job = jobs.get(job_id)
        if wants_events(request.headers.get("Accept")):
            return sse.reply(_states(jobs, job_id), settings.heartbeat_s)
        return json_reply(describe(job.state))

    @routes.delete("/jobs/<job_id>")
    async def cancel_job(job_id: str) -> Response:
        return json_reply(describe(await jobs.cancel(job_id)))

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
