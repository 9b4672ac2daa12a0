"""OpenAI's Responses API."""

from quart import Blueprint

from web.dialect import Dialect
from web.services import Services

from . import routes, socket
from .run import Runs as Runs


def blueprints(dialect: Dialect, services: Services, runs: Runs) -> list[Blueprint]:
    """Over HTTP and over WebSocket; `runs` are those of all dialects."""
    return [
        routes.blueprint(dialect, services, runs),
        socket.blueprint(dialect, services, runs),
    ]
