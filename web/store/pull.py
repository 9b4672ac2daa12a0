"""POST {store}/hf/models/pull: a repository of the hub, told in stages."""

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

import msgspec

from registry.checkpoint.task import Task
from registry.errors import ModelNotFound, QuantRequired, RegistryError
from registry.hub import repository
from registry.hub.catalog import CATALOG
from registry.hub.repository import HubRevision
from registry.jobs.jobs import Jobs
from registry.jobs.order import Pull
from registry.store.record import Description, Kind, Recipe
from registry.store.store import Entry, Store
from web.settings import WebSettings
from web.transport import sse

from .progress import failure_of_job, sizes

Bits: TypeAlias = Literal[4, 8]

_QUANT = re.compile(r".*[-.]([^-.]+)\.gguf")
_CONTEXT = 32_768  # of pulled GGUF models, as with mimOE


class PullBody(msgspec.Struct):
    """`quant` is a quantisation's name or a file's; `name` the id to register it under.

    `task` says what the model is for, where its files do not.
    """

    repo: str | None = None
    revision: str | None = None
    quant: str | None = None
    name: str | None = None
    bits: Bits | None = None
    task: Task | None = None


async def stages(
    body: PullBody, settings: WebSettings, store: Store, jobs: Jobs, request_id: str
) -> AsyncGenerator[bytes, None]:
    """Resolving, resolved, the sizes; or why not. The job goes on without its reader."""
    assert body.repo is not None
    yield sse.data({"stage": "resolving", "repo": body.repo, "quant": body.quant or "auto"})
    try:
        quant = _plain(body.quant)
        revision = await repository.resolve(body.repo, body.revision, settings.hub, quant)
        model_id = body.name or _stem(revision)
        store.check_id(model_id)
        kind = _kind(revision, body.task)
        yield sse.data(
            {
                "stage": "resolved",
                "modelFile": _model_file(revision),
                "mmprojFile": None,
                "kind": kind,
                "modelId": model_id,
            }
        )
        if (entry := _ready(store, model_id)) is not None:
            yield sse.data(
                {"stage": "already_exists", "modelId": model_id, "kind": entry.kind,
                 "totalSize": entry.size_bytes}
            )  # fmt: skip
            return
        await asyncio.to_thread(_register, store, model_id, kind, revision)
        job = jobs.start(
            Pull(model_id, body.repo, revision.commit, quant, Recipe(body.bits, task=body.task))
        )
        async for line in sizes(job, store):
            yield line
        if (failure := failure_of_job(job, request_id)) is not None:
            yield sse.data({"stage": "error", "message": failure.message})
    except (RegistryError, OSError) as error:
        if isinstance(error, QuantRequired) and error.available:
            yield sse.data({"stage": "quant_required", "available": _available(error)})
        else:
            yield sse.data({"stage": "error", "message": str(error)})


def _register(store: Store, model_id: str, kind: Kind, revision: HubRevision) -> None:
    """So that it can be asked after while it comes; what a person said of it before stays."""
    try:
        store.get(model_id)
    except ModelNotFound:
        context = _CONTEXT if _gguf(revision) is not None else None
        store.create(model_id, Description(kind=kind, init_context_size=context))


def _plain(quant: str | None) -> str | None:
    """A quantisation's name counts the same with hyphens; a file's name does not."""
    if quant is None or quant.lower() == "auto":
        return None
    return quant if quant.endswith(".gguf") else quant.replace("-", "_")


def _gguf(revision: HubRevision) -> str | None:
    return next((file.name for file in revision.files if file.name.endswith(".gguf")), None)


def _model_file(revision: HubRevision) -> str:
    """The GGUF, or the first weights."""
    weights = (file.name for file in revision.files if file.name.endswith(".safetensors"))
    return _gguf(revision) or next(weights, "")


def _stem(revision: HubRevision) -> str:
    gguf = _gguf(revision)
    return PurePosixPath(gguf).stem if gguf else revision.repo_id.rsplit("/", 1)[-1]


def _kind(revision: HubRevision, task: Task | None) -> Kind:
    """As far as it can be known before the files are here; verification finds out."""
    if task is not None:
        return "llm" if task == "chat" else "embed"
    known = {entry.repo_id: entry.kind for entry in CATALOG.values()}
    return "embed" if known.get(revision.repo_id) == "embed" else "llm"


def _ready(store: Store, model_id: str) -> Entry | None:
    try:
        entry = store.get(model_id)
    except ModelNotFound:
        return None
    return entry if entry.is_ready else None


def _available(error: QuantRequired) -> list[dict[str, str | int]]:
    return [
        {"name": _QUANT.sub(r"\1", name), "file": name, "size": size}
        for name, size in error.available
    ]
