"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's SDKs and Claude Code ask."""

from quart import Blueprint, Response, request

from web.api.answering import answer
from web.dialect import ANTHROPIC
from web.door.body import read_json
from web.errors import ApiError
from web.services import Services
from web.serving import servable
from web.transport.reply import json_reply

from .message_answer import MessageAnswer
from .message_body import CountBody, MessagesBody, generation_request


def blueprint(services: Services) -> Blueprint:
    """The routes."""
    routes = Blueprint("messages", __name__, url_prefix=ANTHROPIC.base)

    @routes.post("/messages")
    async def create_message() -> Response:
        body = await read_json(request, services.settings, MessagesBody)
        if body.n not in (None, 1):
            raise ApiError(400, "'n' may be 1: an answer is one message.", param="n")
        model = servable(services.store, body.model)
        asked = generation_request(body, request.headers)
        rendering = MessageAnswer(
            model.id,
            shows_thinking=body.shows_thinking,
            has_edits=body.context_management is not None,
        )
        return await answer(services, model, [asked], rendering, streams=bool(body.stream))

    @routes.post("/messages/count_tokens")
    async def count_tokens() -> Response:
        body = await read_json(request, services.settings, CountBody)
        model = servable(services.store, body.model)
        tokens = await services.pool.tokenize(model, body.input())
        return json_reply({"input_tokens": len(tokens)})

    return routes
