"""The routes of the store that bring a model's files: upload, download, pull.

Each starts a job, or joins the one that does the same. A client that leaves stops no download.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from quart import Blueprint, Request, Response, g, request

from registry.checkpoint.task import TASKS, Task
from registry.errors import ModelBusy, ModelExists, SourceRefused
from registry.jobs import order as orders
from registry.jobs.fetching import OnStage
from registry.jobs.jobs import Jobs
from registry.store.model_id import check_id
from registry.store.record import Recipe
from registry.store.store import Entry, Store
from web.door.body import check_identity, read_json
from web.errors import ApiError, failure_of
from web.serving import check_kind
from web.settings import WebSettings
from web.transport import sse
from web.transport.reply import json_reply

from . import pull
from .entry import describe
from .progress import download_stream, failure_of_job
from .pull import Bits, PullBody
from .upload import UploadBody, refuse


class DownloadBody(msgspec.Struct):
    """POST /models/{id}/download."""

    url: Annotated[str, Meta(max_length=8192)]
    bits: Bits | None = None
    task: Task | None = None


def add_routes(routes: Blueprint, settings: WebSettings, store: Store, jobs: Jobs) -> None:
    """The routes below the store's base."""

    @routes.post("/models/<model_id>/upload")
    async def upload_files(model_id: str) -> Response:
        try:
            check_identity(request)
            await _upload(request, settings, store, jobs, model_id)
        except Exception as error:
            if (failure := failure_of(error)) is None:
                raise
            return refuse(request, failure)
        return json_reply(describe(store.get(model_id), None))

    @routes.post("/models/<model_id>/download")
    async def download_file(model_id: str) -> Response:
        body = await read_json(request, settings, DownloadBody)
        entry = _to_fill(store, model_id)
        if entry.is_ready:
            pieces = _already(entry)
        else:
            check_url(body.url)
            job = jobs.start(orders.Download(model_id, body.url, Recipe(body.bits, task=body.task)))
            pieces = download_stream(job, store, g.request_id)
        return sse.reply(pieces, settings.heartbeat_s)

    @routes.post("/hf/models/pull")
    async def pull_repo() -> Response:
        body = await read_json(request, settings, PullBody)
        if not body.repo:
            raise ApiError(400, "repo is required", param="repo")
        if body.repo.count("/") != 1:
            raise ApiError(400, f"'repo' is {body.repo!r}; send owner/name.", param="repo")
        if body.name is not None:
            store.check_id(body.name)
        jobs.refuse_when_closing()  # the stream begins with 200
        pieces = pull.stages(body, settings, store, jobs, g.request_id)
        return sse.reply(pieces, settings.heartbeat_s)


def check_url(url: str) -> None:
    """Raises SourceRefused for what is plainly no URL to fetch; the download looks closer."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_url = False
    if not is_url:
        raise SourceRefused(f"{url[:200]!r} is no http or https URL.")


def _to_fill(store: Store, model_id: str) -> Entry:
    check_id(model_id)
    entry = store.get(model_id)
    check_kind(entry.kind, model_id)
    return entry


async def _already(entry: Entry) -> AsyncGenerator[bytes, None]:
    yield sse.data({"size": entry.size_bytes, "totalSize": entry.size_bytes})


async def _upload(
    request: Request, settings: WebSettings, store: Store, jobs: Jobs, model_id: str
) -> None:
    """Receive, verify, publish. A client that leaves before all has arrived ends the job."""
    if _to_fill(store, model_id).is_ready:
        raise ModelExists(f"A model '{model_id}' already exists. Delete it first.")
    if (running := jobs.running(model_id)) is not None:
        raise ModelBusy(model_id, running.state.action)
    recipe = Recipe(_bits(request.args.get("bits")), task=_task(request.args.get("task")))
    upload = await UploadBody.begin(request, store.home, settings)
    received = _Received(upload)
    try:
        job = jobs.start(orders.Upload(model_id, upload.file, recipe), received)
    except BaseException:
        await upload.aclose()
        raise
    try:
        await job.wait()
    except asyncio.CancelledError:
        if not received.is_whole:
            await jobs.cancel(job.id)
        raise
    if received.failure is not None:
        raise received.failure
    if (failure := failure_of_job(job, g.request_id)) is not None:
        raise ApiError(failure.status, failure.message, code=failure.code, headers=failure.headers)


class _Received:
    """An upload as the job wants it: errors of the web layer become the registry's."""

    def __init__(self, upload: UploadBody) -> None:
        self._upload = upload
        self.is_whole = False
        self.failure: ApiError | None = None

    async def __call__(self, folder: Path, report: OnStage) -> None:
        def told(num_bytes: int) -> None:
            report("uploading", num_bytes, self._upload.num_bytes)

        try:
            await self._upload.write_to(folder, told)
        except ApiError as error:
            self.failure = error
            raise SourceRefused(str(error)) from error
        self.is_whole = True


def _bits(text: str | None) -> int | None:
    if text not in (None, "4", "8"):
        raise ApiError(400, f"'bits' is {text!r}; send 4 or 8, or leave it out.", param="bits")
    return int(text) if text else None


def _task(text: str | None) -> Task | None:
    if text is None or text in TASKS.values():
        return cast(Task | None, text)
    message = f"'task' is {text!r}; send chat, embed or rerank, or leave it out."
    raise ApiError(400, message, param="task")
