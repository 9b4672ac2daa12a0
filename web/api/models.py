"""/models: list, show, load and unload."""

import asyncio

import msgspec
from quart import Blueprint, Response, g, request

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.config import Json
from registry.checkpoint.encoder import EncoderConfig
from registry.checkpoint.exactness import Batching
from registry.checkpoint.kv_bits import KvBits
from registry.hub.sampling import defaults_of
from registry.store.store import Entry
from runtime.errors import ModelNotLoaded
from runtime.events import Loading
from runtime.residency import Residency
from runtime.resident import ResidentModel
from web.default_model import Default, default_model
from web.dialect import MIMOE, Dialect
from web.door.body import read_json
from web.errors import ApiError
from web.loading import LoadReply, checked_kv_bits, freed
from web.model_name import hint, meant
from web.services import Services
from web.serving import Task, can_chat, known, loadable, model_of, task_of
from web.transport import sse
from web.transport.reply import json_reply

from .jobs import wants_events
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
        loaded = {model.model.id: model for model in residency.loaded()}
        loading = residency.loading()
        entries = {entry.id: entry for entry in await asyncio.to_thread(store.entries)}
        for model in loaded.values():  # one that was removed is in memory all the same
            entries.setdefault(model.model.id, _unregistered(model))
        default = await asyncio.to_thread(default_model, store)
        shown: list[Json] = [
            _describe(entry, loaded.get(entry.id), loading.get(entry.id)) | _choice(entry, default)
            for entry in entries.values()
            if entry.id in loaded or (entry.is_ready and dialect is not MIMOE)
        ]
        memory = _memory(list(loaded.values()), residency.budget.meter.read().room)
        return json_reply({"object": "list", "data": shown, "memory": memory})

    @routes.get("/models/<path:model_id>")
    async def show_model(model_id: str) -> Response:
        entry = known(store, model_id)
        loaded = {model.model.id: model for model in residency.loaded()}
        shown = _describe(entry, loaded.get(entry.id), residency.loading().get(entry.id))
        return json_reply(shown | _choice(entry, default_model(store)))

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
                loaded=lambda loaded: _describe(entry, loaded),
            )
            return sse.reply(pieces, settings.heartbeat_s)
        return json_reply(_describe(entry, await load.result()))

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


def _loading(step: Loading) -> dict[str, Json]:
    return {
        "progress": step.fraction,
        "loaded_bytes": step.loaded_bytes,
        "total_bytes": step.total_bytes,
    }


def _loading_event(step: Loading) -> Json:
    return {"type": "model.loading"} | _loading(step)


def _loading_as_mimoe(step: Loading) -> Json:
    """The 0.6 generation's line, to the letter."""
    return {"progress": f"<|loading_model|> {int(step.fraction * 100)}%<br />"}


def _describe(
    entry: Entry, loaded: ResidentModel | None, loading: Loading | None = None
) -> dict[str, Json]:
    """One model object for both dialects: the documented keys, and what is worth knowing."""
    value: dict[str, Json] = {
        "id": entry.id,
        "object": "model",
        "created": int(entry.created_at),
        "owned_by": "local",
        "kind": entry.kind,
        "loaded": loaded is not None,
        "state": _state(loaded, loading),
    }
    if loading is not None:
        value["loading"] = _loading(loading)
    facts = _facts(entry)
    if facts is None:
        return value
    family, trained_context, context = facts
    task = task_of(entry)
    encoder = _encoder(entry)
    if encoder is not None:
        context = encoder.max_input_tokens  # often less than config.json says
    value |= {
        "context_length": context,
        "max_output_tokens": context - 1 if task == "chat" else None,
        "size_bytes": entry.size_bytes,
        "kv_bits": _kv_bits(entry, loaded),
        "capabilities": _capabilities(entry, task, loaded),
        "info": {
            "kind": entry.kind,
            "family": family,
            "max_context": context,
            "n_ctx_train": trained_context,
            "n_embd": encoder.num_dimensions if encoder and task == "embeddings" else None,
            "model_size": entry.size_bytes,
            "chatTemplate": "",
            "chat_template_hint": "",
            "input_modalities": ["text"],
            "supported_parameters": None,
            "reasoning": {"supported": _thinks(entry, loaded)},
        },
    }
    if task == "chat":
        value["chat_template"] = _chat_template(entry, loaded)
        value["sampling"] = msgspec.to_builtins(defaults_of(entry))
    if loaded is not None:
        value |= _in_memory(loaded)
        assert isinstance(value["info"], dict)
        value["info"] |= {
            "n_params": loaded.info.num_params,
            "n_vocab": loaded.info.vocab_size,
            "device": loaded.info.device,
        }
    return value


def _state(loaded: ResidentModel | None, loading: Loading | None) -> str:
    if loaded is not None:
        return "unloading" if loaded.is_unloading else "loaded"
    return "loading" if loading is not None else "unloaded"


def _choice(entry: Entry, default: Default) -> dict[str, Json]:
    """Whether it is what the page and `chat` begin with, and whether a person chose that."""
    is_default = entry.id == default.id
    return {"default": is_default, "default_is_chosen": is_default and default.is_chosen}


def _facts(entry: Entry) -> tuple[str, int, int] | None:
    """Architecture, trained and permitted context; None for a model that cannot be used."""
    if not entry.is_ready:
        return None
    verified = entry.record.verified if entry.record else None
    if entry.record is not None and verified is not None:
        trained = verified.context_length
        return verified.model_type, trained, min(trained, entry.record.init_context_size or trained)
    model = model_of(entry)
    try:
        return model.model_type, model.trained_context, model.context_length
    except (OSError, ValueError):  # gone or damaged since: that is no reason to show no other
        return None


def _batching(entry: Entry, loaded: ResidentModel | None) -> Batching | None:
    """How its rows are batched; None until a first load has found out."""
    if loaded is not None:
        return loaded.info.probed.exactness.batching
    probed = entry.record.probed if entry.record else None
    return probed.exactness.batching if probed else None


def _kv_bits(entry: Entry, loaded: ResidentModel | None) -> KvBits | None:
    """Those in use; else what a person wants, None where nobody said it."""
    if loaded is not None:
        return loaded.info.kv_bits if loaded.info.kind == "llm" else None
    return entry.record.kv_bits if entry.record else None


def _capabilities(entry: Entry, task: Task, loaded: ResidentModel | None) -> dict[str, Json]:
    is_chat = can_chat(entry)
    return {
        "chat": is_chat,
        "embeddings": task == "embeddings",
        "rerank": task == "rerank",
        "streaming": is_chat,
        "batching": _batching(entry, loaded),
        "input_modalities": ["text"],
    }


def _chat_format(entry: Entry, loaded: ResidentModel | None) -> ChatFormat | None:
    """What its template takes; None until a first load has found out, and where there is none."""
    noted = entry.record.chat_format if entry.record else None
    return loaded.chat_format if loaded is not None else noted


def _chat_template(entry: Entry, loaded: ResidentModel | None) -> dict[str, Json] | None:
    form = _chat_format(entry, loaded)
    return form.shown() if form is not None else None


def _thinks(entry: Entry, loaded: ResidentModel | None) -> bool:
    """Whether its template sets thoughts apart."""
    form = _chat_format(entry, loaded)
    return form is not None and form.thinking is not None


def _encoder(entry: Entry) -> EncoderConfig | None:
    """What the files of an embedding model or reranker say; None for others and damaged ones."""
    try:
        return EncoderConfig.of(model_of(entry)) if entry.kind == "embed" else None
    except (OSError, ValueError):
        return None


def _unregistered(loaded: ResidentModel) -> Entry:
    kind = "llm" if loaded.info.kind == "llm" else "embed"
    return Entry(
        loaded.model.id, kind, loaded.model.folder, loaded.loaded_at,
        is_ready=True, size_bytes=loaded.info.weight_bytes,
    )  # fmt: skip


def _memory(loaded: list[ResidentModel], room: int) -> Json:
    """What all models hold, and what they could have now beside everything else that runs."""
    held = sum(model.memory_bytes for model in loaded)
    return {
        "held_bytes": held,
        "prefix_bytes": sum(model.cache.num_bytes for model in loaded),
        "limit_bytes": held + max(0, room),
    }


def _in_memory(loaded: ResidentModel) -> dict[str, Json]:
    return {
        "memory_bytes": loaded.memory_bytes,
        "memory_model": {"error_p95": loaded.memory_error, "margin": loaded.memory_margin},
        "pinned": loaded.pinned,
        "expires_in_s": loaded.expires_in_s,
        "num_running": loaded.num_running,
        "num_waiting": loaded.num_waiting,
        "num_rows": loaded.num_rows,
        "num_waiting_for_memory": loaded.num_short,
        "num_set_aside": loaded.num_aside,
        "num_continued": loaded.num_continued,
        "prefix_cache": {
            "num_bytes": loaded.cache.num_bytes,
            "budget_bytes": loaded.cache.budget_bytes,
            "num_tokens": loaded.cache.num_tokens,
            "prompt_tokens": loaded.cache.prompt_tokens,
            "cached_tokens": loaded.cache.cached_tokens,
        },
        "metrics": {
            "inference_count": loaded.num_requests,
            "last_used": int(loaded.last_used),
            "loaded_at": int(loaded.loaded_at),
            "tokens_per_second": loaded.tokens_per_second,
            "avg_tokens_per_second": loaded.avg_tokens_per_second,
        },
    }
