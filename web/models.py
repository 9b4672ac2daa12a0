"""/models: list, show, load and unload."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from quart import Blueprint, Response, g, request

from registry.store import Entry, Store
from runtime.pool import LoadedModel, ModelPool
from runtime.protocol import Json, Loading

from . import sse
from .body import read_json
from .catalog import model_of, servable
from .dialect import Dialect
from .errors import ApiError, failure_of, internal
from .reply import json_reply
from .schema import keep_alive_s
from .settings import WebSettings

logger = logging.getLogger(__name__)


class LoadBody(msgspec.Struct):
    """POST /models."""

    model: str
    keep_alive: float | str | None = None
    pin: bool | None = None


def blueprint(dialect: Dialect, settings: WebSettings, pool: ModelPool, store: Store) -> Blueprint:
    """The routes of one dialect."""
    routes = Blueprint(f"{dialect.name}-models", __name__, url_prefix=dialect.base)

    @routes.get("/models")
    async def list_models() -> Response:
        loaded = {model.model.id: model for model in pool.loaded()}
        entries = await asyncio.to_thread(store.entries)
        shown = [
            _describe(entry, loaded.get(entry.id))
            for entry in entries
            if entry.is_ready and (entry.id in loaded or not dialect.lists_loaded_only)
        ]
        return json_reply({"object": "list", "data": list(shown)})

    @routes.get("/models/<path:model_id>")
    async def show_model(model_id: str) -> Response:
        entry = store.get(model_id)
        loaded = {model.model.id: model for model in pool.loaded()}
        return json_reply(_describe(entry, loaded.get(entry.id)))

    @routes.post("/models")
    async def load_model() -> Response:
        body = await read_json(request, settings, LoadBody)
        entry = store.get(body.model)
        steps = pool.load(
            servable(store, body.model),
            keep_alive_s=keep_alive_s(body.keep_alive),
            pin=body.pin,
        )
        try:
            first = await anext(steps)  # refusals come before it
        except BaseException:
            await steps.aclose()
            raise
        if "text/event-stream" in request.headers.get("Accept", ""):
            pieces = _progress(dialect, entry, first, steps, g.request_id)
            return sse.reply(pieces, settings.heartbeat_s)
        async with aclosing(steps):
            *_, last = [first, *[step async for step in steps]]
        assert isinstance(last, LoadedModel)
        return json_reply(_describe(entry, last))

    @routes.delete("/models")
    async def unload_by_query() -> Response:
        model_id = request.args.get("modelId")
        if not model_id:
            raise ApiError(400, "Name the model: DELETE /models?modelId=ID", param="modelId")
        return await _unload(pool, model_id)

    @routes.delete("/models/<path:model_id>")
    async def unload_by_path(model_id: str) -> Response:
        return await _unload(pool, model_id)

    return routes


async def _unload(pool: ModelPool, model_id: str) -> Response:
    unloaded = await pool.unload(model_id)
    return json_reply(
        {
            "id": unloaded.id,
            "object": "model",
            "deleted": True,
            "freed_bytes": unloaded.freed_bytes,
        }
    )


async def _progress(
    dialect: Dialect,
    entry: Entry,
    first: Loading | LoadedModel,
    steps: AsyncGenerator[Loading | LoadedModel, None],
    request_id: str,
) -> AsyncGenerator[bytes, None]:
    """About one event a percent, then the whole model object."""
    percent = -1

    def piece(step: Loading | LoadedModel) -> bytes:
        nonlocal percent
        if isinstance(step, LoadedModel):
            return sse.data(_describe(entry, step))
        before, percent = percent, int(step.fraction * 100)
        if percent == before:
            return b""
        if dialect.reports_status:  # the 0.6 generation's line, to the letter
            return sse.data({"progress": f"<|loading_model|> {percent}%<br />"})
        return sse.data(
            {
                "type": "model.loading",
                "progress": step.fraction,
                "loaded_bytes": step.loaded_bytes,
                "total_bytes": step.total_bytes,
            }
        )

    async with aclosing(steps):
        try:
            yield piece(first)
            async for step in steps:
                if line := piece(step):
                    yield line
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                logger.exception("load %s failed", request_id)
                failure = internal(request_id)
            yield sse.error(failure.body(dialect))


def _describe(entry: Entry, loaded: LoadedModel | None) -> dict[str, Json]:
    """One model object for both dialects: the documented keys, and what is worth knowing."""
    model = model_of(entry)
    value: dict[str, Json] = {
        "id": entry.id,
        "object": "model",
        "created": int(entry.created_at),
        "owned_by": "local",
        "kind": entry.kind,
        "loaded": loaded is not None,
    }
    if not entry.is_ready:
        return value
    context = model.context_length
    value |= {
        "context_length": context,
        "max_output_tokens": context - 1,
        "size_bytes": entry.size_bytes,
        "capabilities": {
            "chat": entry.kind == "llm",
            "streaming": entry.kind == "llm",
            "batching": loaded.info.is_batchable if loaded else None,
            "input_modalities": ["text"],
        },
        "info": {
            "kind": entry.kind,
            "family": model.model_type,
            "max_context": context,
            "n_ctx_train": context,
            "model_size": entry.size_bytes,
            "chatTemplate": "",
            "chat_template_hint": "",
            "input_modalities": ["text"],
            "supported_parameters": None,
            "reasoning": {"supported": False},
        },
    }
    if loaded is not None:
        value |= _in_memory(loaded)
        assert isinstance(value["info"], dict)
        value["info"] |= {
            "n_params": loaded.info.num_params,
            "n_vocab": loaded.info.vocab_size,
            "device": loaded.info.device,
        }
    return value


def _in_memory(loaded: LoadedModel) -> dict[str, Json]:
    return {
        "memory_bytes": loaded.memory_bytes,
        "pinned": loaded.pinned,
        "expires_in_s": loaded.expires_in_s,
        "num_running": loaded.num_running,
        "num_waiting": loaded.num_waiting,
        "num_rows": loaded.num_rows,
        "metrics": {
            "inference_count": loaded.num_requests,
            "last_used": int(loaded.last_used),
            "loaded_at": int(loaded.loaded_at),
            "tokens_per_second": loaded.tokens_per_second,
            "avg_tokens_per_second": loaded.avg_tokens_per_second,
        },
    }
