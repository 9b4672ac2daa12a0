"""POST /chat/completions, streamed or whole."""

from quart import Blueprint, Response, request

from web.api.answering import answer
from web.dialect import MIMOE, Dialect
from web.door.body import read_json
from web.errors import ApiError
from web.services import Services
from web.serving import servable

from .chat_answer import ChatAnswer, MimoeChatAnswer
from .chat_body import ChatBody, generation_request


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The route of one dialect."""
    routes = Blueprint(f"{dialect.name}-chat", __name__, url_prefix=dialect.base)

    @routes.post("/chat/completions")
    async def chat_completions() -> Response:
        body = await read_json(request, services.settings, ChatBody)
        if body.resumable:
            raise ApiError(
                400, "'resumable' is for sockets; over HTTP, responses can be come back to.",
                param="resumable", code="unsupported_parameter",
            )  # fmt: skip
        model = servable(services.store, body.model)
        asked = generation_request(body, request.headers)
        rendering = rendering_of(dialect, services, model.id, body)
        return await answer(services, model, [asked], rendering, streams=bool(body.stream))

    return routes


def rendering_of(dialect: Dialect, services: Services, model_id: str, body: ChatBody) -> ChatAnswer:
    """What writes the answers to a request."""

    def fingerprint() -> str | None:
        info = services.pool.residency.info(model_id)  # None while it loads
        return info.fingerprint if info else None

    kind = MimoeChatAnswer if dialect is MIMOE else ChatAnswer
    return kind(
        model_id,
        fingerprint,
        num_answers=body.n or 1,
        has_logprobs=bool(body.logprobs),
        includes_usage=body.includes_usage and dialect is not MIMOE,
        shows_reasoning=body.asked_reasoning.is_shown,
    )
