"""A download as the store's clients follow it: sizes, and how it ended."""

from collections.abc import AsyncGenerator

import msgspec

from registry.jobs.job import Job
from registry.store.store import Store
from web.dialect import MIMOE
from web.errors import Failure, failure_of, internal
from web.transport import sse

_STAGE = "downloading"

_encode = msgspec.json.Encoder().encode


async def sizes(job: Job, store: Store) -> AsyncGenerator[bytes, None]:
    """The bytes that are here and those that there will be, up to the end of the job."""
    size, total = 0, 0
    async for state in job.follow():
        if state.stage == _STAGE and state.bytes_done != size:
            size, total = state.bytes_done, max(state.bytes_total or 0, state.bytes_done)
            if total == 0:
                continue  # nothing is known yet
            yield sse.data({"size": size, "totalSize": total})
    if job.state.status == "done" and (size != total or total == 0):
        # Nobody looked while it was downloading: it went fast, or all was here already.
        total = total or store.get(job.order.model_id).size_bytes
        yield sse.data({"size": total, "totalSize": total})


async def download_stream(job: Job, store: Store, request_id: str) -> AsyncGenerator[bytes, None]:
    """As documented: sizes; then nothing, the model being ready, or a bare line of JSON."""
    async for line in sizes(job, store):
        yield line
    if (failure := failure_of_job(job, request_id)) is not None:
        yield _encode(failure.body(MIMOE)) + b"\n"


def failure_of_job(job: Job, request_id: str) -> Failure | None:
    """What a job that is over is to the client that waited for it; None if it went well."""
    match job.state.status:
        case "done":
            return None
        case "cancelled":
            return Failure(409, "The job was cancelled.", "job_cancelled")
        case "running":
            message = "The server is shutting down; when it starts again, the job goes on."
            return Failure(503, message, "draining", headers={"Retry-After": "5"})
    known = failure_of(job.error) if job.error is not None else None
    message = job.state.error or internal(request_id).message
    return known or Failure(500, message, "job_failed")
