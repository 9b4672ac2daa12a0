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

from .processes import processes
from .reachable import reachable
from .told import Network


def blueprint(services: Services) -> Blueprint:
    """The route."""
    routes = Blueprint("network", __name__, url_prefix=OPENAI.base)

    @routes.get("/network")
    async def show() -> Response:
        told = msgspec.to_builtins(await asyncio.to_thread(_network, services))
        return json_reply(cast(dict[str, Json], told))

    return routes


def _network(services: Services) -> Network:
    """Blocking: it looks at every process."""
    settings, reached = services.jobs.settings, HERE.all()
    models = {str(entry.folder): entry.id for entry in services.store.entries()}
    return Network(
        reachable(settings.hub, settings.download),
        reached=[one for one in reached if not one.is_loopback],
        loopback=[one for one in reached if one.is_loopback],
        num_unlisted=HERE.num_unlisted,
        since=HERE.since,
        processes=processes(os.getpid(), models),
    )
