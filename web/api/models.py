"""/models: list, show, load and unload."""

import asyncio

import msgspec
from quart import Blueprint, Response, g, request

from registry.checkpoint.config import Json
from registry.store.store import Entry, Store
from runtime.errors import ModelNotLoaded
from runtime.events import Loading
from runtime.residency import Residency
from runtime.resident import ResidentModel
from web.default_model import default_model
from web.dialect import MIMOE, Dialect
from web.door.body import read_json
from web.errors import ApiError
from web.loading import LoadReply, checked_kv_bits, freed
from web.model_name import hint, meant
from web.services import Services
from web.serving import known, loadable
from web.transport import sse
from web.transport.reply import json_reply

from .jobs import wants_events
from .model_object import choice, describe, loading_progress, memory_of_all
from .scheduling import keep_alive_s


class LoadBody(msgspec.Struct):
    """POST /models."""

    model: str
    keep_alive: float | str | None = None
    pin: bool | None = None
    kv_bits: int | None = None


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The routes of one dialect; of mimOE's, models are those in memory."""
    settings, store, residency = services.settings, services.store, services.pool.residency
    routes = Blueprint(f"{dialect.name}-models", __name__, url_prefix=dialect.base)

    @routes.get("/models")
    async def list_models() -> Response:
        return json_reply(await _list(dialect, store, residency))

    @routes.get("/models/<path:model_id>")
    async def show_model(model_id: str) -> Response:
        return json_reply(_show(model_id, store, residency))

    @routes.post("/models")
    async def load_model() -> Response:
        body = await read_json(request, settings, LoadBody)
        model = loadable(store, body.model)
        load = await LoadReply.begin(
            residency,
            model,
            keep_alive_s=keep_alive_s(body.keep_alive),
            pin=body.pin,
            kv_bits=checked_kv_bits(body.kv_bits),
            note_kv_bits=store.note_kv_bits,
        )
        entry = store.get(model.id)
        if wants_events(request.headers.get("Accept")):
            pieces = load.events(
                dialect,
                g.request_id,
                loading=_loading_as_mimoe if dialect is MIMOE else _loading_event,
                loaded=lambda loaded: describe(entry, loaded),
            )
            return sse.reply(pieces, settings.heartbeat_s)
        return json_reply(describe(entry, await load.result()))

    @routes.delete("/models")
    async def unload_by_query() -> Response:
        model_id = request.args.get("modelId")
        if not model_id:
            raise ApiError(400, "Name the model: DELETE /models?modelId=ID", param="modelId")
        return await _unload(residency, model_id)

    @routes.delete("/models/<path:model_id>")
    async def unload_by_path(model_id: str) -> Response:
        return await _unload(residency, model_id)

    return routes


async def _list(dialect: Dialect, store: Store, residency: Residency) -> dict[str, Json]:
    loaded = {model.model.id: model for model in residency.loaded()}
    loading = residency.loading()
    entries = {entry.id: entry for entry in await asyncio.to_thread(store.entries)}
    for model in loaded.values():  # one that was removed is in memory all the same
        entries.setdefault(model.model.id, _unregistered(model))
    default = await asyncio.to_thread(default_model, store)
    shown: list[Json] = [
        describe(entry, loaded.get(entry.id), loading.get(entry.id)) | choice(entry, default)
        for entry in entries.values()
        if entry.id in loaded or (entry.is_ready and dialect is not MIMOE)
    ]
    memory = memory_of_all(list(loaded.values()), residency.budget.meter.read().room)
    return {"object": "list", "data": shown, "memory": memory}


def _unregistered(loaded: ResidentModel) -> Entry:
    kind = "llm" if loaded.info.kind == "llm" else "embed"
    return Entry(
        loaded.model.id, kind, loaded.model.folder, loaded.loaded_at,
        is_ready=True, size_bytes=loaded.info.weight_bytes,
    )  # fmt: skip


def _show(model_id: str, store: Store, residency: Residency) -> dict[str, Json]:
    entry = known(store, model_id)
    loaded = {model.model.id: model for model in residency.loaded()}
    shown = describe(entry, loaded.get(entry.id), residency.loading().get(entry.id))
    return shown | choice(entry, default_model(store))


def _loading_event(step: Loading) -> Json:
    return {"type": "model.loading"} | loading_progress(step)


def _loading_as_mimoe(step: Loading) -> Json:
    """The 0.6 generation's line, to the letter."""
    return {"progress": f"<|loading_model|> {int(step.fraction * 100)}%<br />"}


async def _unload(residency: Residency, model_id: str) -> Response:
    ids = residency.present()
    try:
        unloaded = await residency.unload(meant(model_id, ids) or model_id, force=_is_forced())
    except ModelNotLoaded as error:
        near = hint(model_id, ids)
        raise ApiError(404, f"{error}{near}", param="model", code=error.code) from None
    told = {"id": unloaded.id, "object": "model", "deleted": True, **freed(unloaded)}
    return json_reply(told)


def _is_forced() -> bool:
    """Whether running requests are to be ended: `?force=true`."""
    said = request.args.get("force", "false").lower()
    if said not in ("true", "1", "false", "0"):
        raise ApiError(400, f"'force' is {said[:100]!r}; it may be true or false.", param="force")
    return said in ("true", "1")
