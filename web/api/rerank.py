"""POST /rerank: how well documents answer a query, by a cross-encoder, as Jina and Cohere ask it.

`instruction`, as vLLM has it, says what to judge by, to a model that is asked in words.
`truncate: true`, ours, reads the beginning of a document that is too long, which is else refused.
"""

import secrets
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta
from quart import Blueprint, Response, request

from registry.checkpoint.config import Json
from runtime.requests import Priority, RerankRequest, Scores
from web.dialect import Dialect
from web.door.body import Neutral, RequestBody, read_json
from web.errors import ApiError
from web.services import Services
from web.serving import servable
from web.transport.reply import json_reply

from . import encoder_parameters
from .scheduling import keep_alive_s, priority_of

MAX_DOCUMENTS = 2048


class Document(msgspec.Struct):
    """A document as an object; what else is in it is not read."""

    text: str


class RerankBody(RequestBody):
    """POST /rerank. Fields that are neither listed nor unhonoured are ignored."""

    unhonoured: ClassVar[Neutral] = encoder_parameters.RERANK

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | Document], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    instruction: Annotated[str, Meta(min_length=1)] | None = None
    truncate: bool | None = None
    keep_alive: float | str | None = None
    priority: Priority | None = None


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The route of one dialect."""
    routes = Blueprint(f"{dialect.name}-rerank", __name__, url_prefix=dialect.base)

    @routes.post("/rerank")
    async def rerank_documents() -> Response:
        body = await read_json(request, services.settings, RerankBody)
        body.priority = priority_of(body.priority, request.headers)
        asked = rerank_request(body)
        model = servable(services.store, body.model, "rerank")
        body.model = model.id  # which the answer tells
        scores = await services.pool.rerank(model, asked)
        return json_reply(_answer(body, asked, scores))

    return routes


def rerank_request(body: RerankBody) -> RerankRequest:
    """The request as the runtime takes it. Raises ApiError that names what is wrong."""
    texts = tuple(item if isinstance(item, str) else item.text for item in body.documents)
    if "" in texts:
        raise ApiError(
            400, f"'documents' has an empty text at {texts.index('')}. Leave it out.",
            param="documents",
        )  # fmt: skip
    return RerankRequest(
        query=body.query,
        documents=texts,
        instruction=body.instruction,
        truncate=bool(body.truncate),
        keep_alive_s=keep_alive_s(body.keep_alive),
        priority=body.priority or "interactive",
    )


def _answer(body: RerankBody, asked: RerankRequest, made: Scores) -> dict[str, Json]:
    """The best first; equal ones in the order that they were sent in."""
    best = sorted(range(len(made.scores)), key=lambda index: -made.scores[index])[: body.top_n]
    results: list[Json] = []
    for index in best:
        result: dict[str, Json] = {"index": index, "relevance_score": made.scores[index]}
        if body.return_documents:
            result["document"] = {"text": asked.documents[index]}
        results.append(result)
    return {
        "id": f"rerank-{secrets.token_hex(12)}",
        "object": "list",
        "model": body.model,
        "results": results,
        "usage": {"prompt_tokens": made.prompt_tokens, "total_tokens": made.prompt_tokens},
    }
