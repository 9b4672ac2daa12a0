"""/status, the server at a glance; /pause and /resume, which answer with it."""

import importlib.metadata
import time

from quart import Blueprint, Response

from registry.checkpoint.config import Json
from runtime.resident import ResidentModel
from web.dialect import Dialect
from web.readiness import readiness
from web.services import Services
from web.settings import DEFAULT_API_KEY
from web.transport.reply import json_reply

from .model_object import loading_progress, memory_of_all, state_of

_VERSION = importlib.metadata.version("mlx-edge")


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The routes of one dialect.

    In a pause new requests get a 503, and those that run go on to their end. Nothing remembers it
    over a restart of the server.
    """
    intake = services.pool.residency.intake
    routes = Blueprint(f"{dialect.name}-status", __name__, url_prefix=dialect.base)

    @routes.get("/status")
    async def show_status() -> Response:
        return json_reply(await _status(services))

    @routes.post("/pause")
    async def pause() -> Response:
        intake.is_paused = True
        return json_reply(await _status(services))

    @routes.post("/resume")
    async def resume() -> Response:
        intake.is_paused = False
        return json_reply(await _status(services))

    return routes


async def _status(services: Services) -> dict[str, Json]:
    """Of what the web process knows: no engine is asked."""
    residency = services.pool.residency
    state = await readiness(services.pool, services.store)
    loaded, room = residency.loaded(), residency.budget.meter.read().room
    in_memory: list[Json] = [_in_memory(model) for model in loaded]
    on_their_way: list[Json] = [
        {"id": id, "state": state_of(None, step), "loading": loading_progress(step)}
        for id, step in residency.loading().items()
    ]
    return {
        "object": "status",
        "state": state,
        "version": _VERSION,
        "started_at": int(services.started_at),
        "uptime_s": round(time.monotonic() - services.started, 1),
        "has_default_key": services.settings.api_key == DEFAULT_API_KEY,
        "tokens_per_second": round(sum(model.tokens_per_second_now for model in loaded), 1),
        "tokens_drawn": sum(residency.tokens_drawn().values()),
        "memory": memory_of_all(loaded, room),
        "models": in_memory + on_their_way,
    }


def _in_memory(model: ResidentModel) -> dict[str, Json]:
    return {
        "id": model.model.id,
        "state": state_of(model),
        "memory_bytes": model.memory_bytes,
        "pinned": model.pinned,
        "expires_in_s": model.expires_in_s,
        "num_running": model.num_running,
        "num_waiting": model.num_waiting,
        "tokens_per_second": round(model.tokens_per_second_now, 1),
    }
