"""POST /estimate: what a chat, or going on with a text, would take; nothing is run or loaded."""

from typing import Annotated

from msgspec import Meta
from quart import Blueprint, Response, request

from registry.checkpoint.config import Json
from runtime.estimates import Estimate
from runtime.requests import GenerationRequest, TextInput
from web.api.generating import TokenId
from web.dialect import Dialect
from web.door.body import read_json
from web.errors import ApiError
from web.services import Services
from web.serving import servable
from web.transport.reply import json_reply

from .chat_body import ChatBody, generation_request
from .chat_messages import Message


class EstimateBody(ChatBody, kw_only=True):
    """The body of a chat; or with a prompt in the place of its messages."""

    messages: Annotated[list[Message], Meta(max_length=4096)] = []
    prompt: Annotated[str, Meta(max_length=16 << 20)] | list[TokenId] | None = None

    def request_of(self) -> GenerationRequest:
        """Raises ApiError where there is nothing to be read, or two things."""
        if (self.prompt is not None) + bool(self.messages) != 1:
            raise ApiError(400, "Send one of 'messages' and 'prompt'.", param="messages")
        if self.prompt is None:
            return generation_request(self, request.headers)
        text = self.prompt if isinstance(self.prompt, str) else tuple(self.prompt)
        max_tokens = self.max_completion_tokens or self.max_tokens
        return self.request(TextInput(text), request.headers, max_tokens=max_tokens)


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The route of one dialect."""
    routes = Blueprint(f"{dialect.name}-estimate", __name__, url_prefix=dialect.base)

    @routes.post("/estimate")
    async def estimate() -> Response:
        body = await read_json(request, services.settings, EstimateBody)
        model = servable(services.store, body.model, "chat" if body.messages else "completions")
        told = await services.pool.estimates.of(model, body.request_of())
        return json_reply(_shown(model.id, told))

    return routes


def _shown(model_id: str, estimate: Estimate) -> dict[str, Json]:
    first, bytes = estimate.first_token, estimate.prediction
    return {
        "object": "estimate",
        "model": model_id,
        "loaded": estimate.is_loaded,
        "prompt_tokens": estimate.prompt_tokens,
        "max_tokens": estimate.max_tokens,
        "reserved_tokens": estimate.reserved_tokens,
        "context_length": estimate.context_length,
        "bytes": {
            "weights": bytes.weights,
            "kv": bytes.cache,
            "activations": bytes.activations,
            "overhead": bytes.overhead,
            "total": bytes.total,
        },
        "needed_bytes": estimate.needed,
        "available_bytes": max(0, estimate.available),
        "drained_bytes": max(0, estimate.drained),
        "fits_now": estimate.fits_now,
        "fits_when_drained": estimate.fits_when_drained,
        "ttft_ms": {
            "queue": _ms(first.queue_s),
            "load": _ms(first.load_s),
            "prefill": _ms(first.prefill_s),
            "total": _ms(first.total_s),
        },
    }


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
