"""The store API at /mimik-ai/store/v1: models on disk, as mimOE's installers know it."""

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from quart import Blueprint, Response, g, request

from registry.errors import ModelBusy
from registry.hub.catalog import CATALOG
from registry.store.model_id import check_id
from registry.store.record import Description, Kind
from registry.store.store import Store
from runtime.residency import Residency
from web.dialect import MIMOE, STORE_BASE
from web.door.body import read_json
from web.errors import ApiError
from web.loading import LoadReply, freed
from web.services import Services
from web.serving import loadable
from web.settings import WebSettings
from web.transport import sse
from web.transport.reply import json_reply

from .arrivals import add_routes
from .entry import describe, offer

_MAX_DESCRIPTION_BYTES = 64 << 10  # it is read with every list
_LAST_CONTEXT = 2**31

Text = Annotated[str, Meta(min_length=1, max_length=512)]


class _Description(msgspec.Struct, rename="camel"):
    """What may be said of a model when it is created and later. Other fields are ignored."""

    init_context_size: Annotated[int, Meta(ge=1, le=_LAST_CONTEXT)] | None = None
    gguf: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class CreateBody(_Description, rename="camel", kw_only=True):
    """POST /models."""

    id: str
    version: Text
    kind: Kind


class ChangeBody(_Description, rename="camel", kw_only=True):
    """PUT /models: configuration, or with an action the model in memory."""

    id: str
    action: str = "update"
    force: bool | None = None  # to unload: running requests are ended
    version: Text | None = None
    kind: Kind | None = None


def blueprint(services: Services) -> Blueprint:
    """All routes; those that bring files are in `arrivals`."""
    settings, store, jobs = services.settings, services.store, services.jobs
    residency = services.pool.residency
    routes = Blueprint("store", __name__, url_prefix=STORE_BASE)
    add_routes(routes, settings, store, jobs)

    @routes.get("/models")
    async def list_models() -> Response:
        entries = await asyncio.to_thread(store.entries)
        running = {job.order.model_id: job for job in jobs.list() if not job.is_over}
        return json_reply({"data": [describe(entry, running.get(entry.id)) for entry in entries]})

    @routes.get("/catalog")
    async def list_catalog() -> Response:
        here = {entry.id for entry in await asyncio.to_thread(store.entries) if entry.is_ready}
        return json_reply({"data": [offer(e, e.name in here) for e in CATALOG.values()]})

    @routes.get("/models/<model_id>")
    async def show_model(model_id: str) -> Response:
        check_id(model_id)
        return json_reply(describe(store.get(model_id), jobs.running(model_id)))

    @routes.post("/models")
    async def create_model() -> Response:
        body = await read_json(request, settings, CreateBody)
        description = _description(body, body.kind, body.version)
        entry, is_new = await asyncio.to_thread(store.create, body.id, description)
        return json_reply(describe(entry, jobs.running(body.id)), 201 if is_new else 200)

    @routes.put("/models")
    async def change_model() -> Response:
        body = await read_json(request, settings, ChangeBody)
        check_id(body.id)
        match body.action:
            case "load":
                return await _load(settings, residency, store, body.id)
            case "unload":
                unloaded = await residency.unload(body.id, force=bool(body.force))
                told = {"id": unloaded.id, "object": "model", "unloaded": True, **freed(unloaded)}
                return json_reply(told)
            case "update":
                description = _description(body, body.kind, body.version)
                entry = await asyncio.to_thread(store.update, body.id, description)
                return json_reply(describe(entry, jobs.running(body.id)))
        raise ApiError(
            400, f"'action' is {body.action!r}; send load, unload or update.", param="action"
        )

    @routes.delete("/models/<model_id>")
    async def remove_model(model_id: str) -> Response:
        check_id(model_id)
        if (job := jobs.running(model_id)) is not None:
            raise ModelBusy(model_id, job.state.action)
        await asyncio.to_thread(store.remove, model_id)
        await residency.remove(model_id)
        return json_reply({"id": model_id, "object": "model", "deleted": True})

    return routes


async def _load(
    settings: WebSettings, residency: Residency, store: Store, model_id: str
) -> Response:
    """The 1.0 generation's load: always a stream."""
    load = await LoadReply.begin(residency, loadable(store, model_id))
    kind = store.get(model_id).kind
    pieces = load.events(
        MIMOE,
        g.request_id,
        loading=lambda step: {"progress": f"<|loading_model|> {int(step.fraction * 100)}%<br />\n"},
        loaded=lambda _: {"id": model_id, "object": "model", "kind": kind, "loaded": True},
    )
    return sse.reply(pieces, settings.heartbeat_s)


def _description(body: _Description, kind: Kind | None, version: str | None) -> Description:
    """Raises ApiError when the context size is none, or there is too much of it all."""
    context = body.init_context_size
    if context is None and body.gguf is not None:
        context = body.gguf.get("initContextSize")
        if isinstance(context, float) and context.is_integer():
            context = int(context)
        if context is not None and not (type(context) is int and 1 <= context <= _LAST_CONTEXT):
            raise ApiError(
                400,
                f"'initContextSize' is {context!r}; send a number of tokens, from 1 on.",
                param="gguf",
            )
    description = Description(kind, version, context, body.gguf, body.metadata)
    if len(msgspec.json.encode(description)) > _MAX_DESCRIPTION_BYTES:
        raise ApiError(
            400, f"'gguf' and 'metadata' have {_MAX_DESCRIPTION_BYTES} bytes together at most."
        )
    return description
