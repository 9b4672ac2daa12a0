"""`create_app`: the registry and the runtime wired to the routes of both dialects."""

from quart import Quart, Response, g, has_request_context, request, websocket
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from web.door.guard import REQUEST_ID
from web.transport.backpressure import (
    BoundedConnection,
    BoundedRequest,
    BoundedSocketConnection,
    DirectWebsocket,
)
from web.transport.reply import failure_reply

from . import health, page
from .api import cache, embeddings, jobs, models, rerank, status
from .api.anthropic import messages
from .api.openai import chat, chat_socket, completions, estimate, responses, tokenize
from .dialect import CHAT_DIALECTS, dialect_of
from .errors import Failure, answer_to
from .network import routes as network_routes
from .services import Services
from .store import routes as store_routes


def create_app(services: Services) -> Quart:
    """The routes alone: `server` puts the guard before them and opens the port."""
    # No static folder: `page` serves the few files there are, and the guard knows their paths.
    app = Quart(__name__, static_folder=None)
    app.request_class, app.asgi_http_class = BoundedRequest, BoundedConnection
    app.websocket_class, app.asgi_websocket_class = DirectWebsocket, BoundedSocketConnection
    # Quart's defaults would cut every answer after a minute; bodies are bounded in `body`.
    app.config.update(RESPONSE_TIMEOUT=None, BODY_TIMEOUT=None, MAX_CONTENT_LENGTH=None)
    app.url_map.merge_slashes = False  # no redirects: a path is right, or it is a 404
    runs = responses.Runs()
    for dialect in CHAT_DIALECTS:
        for api in (
            chat,
            chat_socket,
            completions,
            estimate,
            embeddings,
            rerank,
            models,
            cache,
            jobs,
            status,
        ):
            app.register_blueprint(api.blueprint(dialect, services))
        for blueprint in responses.blueprints(dialect, services, runs):
            app.register_blueprint(blueprint)
    app.register_blueprint(messages.blueprint(services))
    app.register_blueprint(tokenize.blueprint(services))
    app.register_blueprint(store_routes.blueprint(services))
    app.register_blueprint(health.blueprint(services))
    app.register_blueprint(network_routes.blueprint(services))
    app.register_blueprint(page.blueprint())

    @app.before_request
    async def remember_id() -> None:
        g.request_id = request.scope.get(REQUEST_ID, "")

    @app.before_websocket
    async def remember_socket_id() -> None:
        g.request_id = websocket.scope.get(REQUEST_ID, "")

    app.register_error_handler(Exception, _on_error)
    return app


async def _on_error(error: Exception) -> Response:
    """Every error is JSON in the dialect of its path, also the framework's own."""
    asked = request if has_request_context() else websocket
    dialect = dialect_of(asked.path)
    if isinstance(error, HTTPException):
        return failure_reply(_framework_failure(error, asked.method, asked.path), dialect)
    return failure_reply(answer_to(error, g.request_id), dialect)


def _framework_failure(error: HTTPException, method: str, path: str) -> Failure:
    """What routing found wrong, in our words."""
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return Failure(405, f"{path} knows no {method}.", headers={"Allow": allowed})
    if error.code == 404:
        return Failure(404, f"There is no {method} {path} here.")
    return Failure(error.code or 500, error.description or error.name)
