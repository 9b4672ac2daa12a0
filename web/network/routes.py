"""GET /v1/network: what this server reached since its start, and what it could reach."""

import asyncio
import os
from typing import cast

import msgspec
from quart import Blueprint, Response

from registry.checkpoint.config import Json
from runtime.processes.destinations import HERE
from web.dialect import OPENAI
from web.services import Services
from web.transport.reply import json_reply

from .processes import Process, processes
from .reachable import reachable


def blueprint(services: Services) -> Blueprint:
    """The route."""
    routes = Blueprint("network", __name__, url_prefix=OPENAI.base)

    @routes.get("/network")
    async def show() -> Response:
        settings = services.jobs.settings
        reached = HERE.all()
        told = {
            "object": "network",
            "since": HERE.since,  # None: nothing is recorded
            "reached": [one for one in reached if not one.is_loopback],
            "loopback": [one for one in reached if one.is_loopback],
            "num_unlisted": HERE.num_unlisted,
            "reachable": reachable(settings.hub, settings.download),
            "processes": await asyncio.to_thread(_processes, services),
        }
        return json_reply(cast(dict[str, Json], msgspec.to_builtins(told)))

    return routes


def _processes(services: Services) -> list[Process]:
    models = {str(entry.folder): entry.id for entry in services.store.entries()}
    return processes(os.getpid(), models)
