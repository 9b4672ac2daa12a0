"""POST /chat/completions, streamed or whole."""

from collections.abc import AsyncGenerator

from quart import Blueprint, Response, g, request

from registry.store.store import Store
from runtime.events import Finished, TextDelta
from runtime.generation import Generation
from runtime.pool import ModelPool
from web.dialect import Dialect
from web.door.body import read_json
from web.errors import answer_to
from web.serving import servable
from web.settings import WebSettings
from web.transport import sse
from web.transport.reply import json_reply

from .completion import SSE, Completion, Envelope
from .schema import ChatBody, generation_request, priority_of


def blueprint(dialect: Dialect, settings: WebSettings, pool: ModelPool, store: Store) -> Blueprint:
    """The route of one dialect."""
    routes = Blueprint(f"{dialect.name}-chat", __name__, url_prefix=dialect.base)

    @routes.post("/chat/completions")
    async def chat_completions() -> Response:
        body = await read_json(request, settings, ChatBody)
        model = servable(store, body.model)
        body.model = model.id  # which the answer tells
        body.priority = priority_of(body.priority, request.headers)
        # Whatever can be refused is refused here, and fast: from here on the status is 200, and
        # the headers of a stream go out at once.
        generation = await pool.begin(model, generation_request(body))
        completion = completion_of(dialect, pool, body)
        if body.stream:
            pieces = _stream(completion, generation, g.request_id)
            # Now it is under way: should the client be gone already, dropping it ends the answer.
            await anext(pieces)
            return sse.reply(pieces, settings.heartbeat_s)
        return await _whole(completion, generation)

    return routes


def completion_of(
    dialect: Dialect, pool: ModelPool, body: ChatBody, envelope: Envelope = SSE
) -> Completion:
    """What writes the answer to a request."""

    def fingerprint() -> str | None:
        info = pool.residency.info(body.model)  # None while it loads
        return info.fingerprint if info else None

    return Completion(dialect, body.model, fingerprint, body.includes_usage, envelope)


async def _whole(completion: Completion, generation: Generation) -> Response:
    """The same stream, folded. A client that leaves cancels this task, and so the answer."""
    text: list[str] = []
    async with generation:
        async for event in generation.follow():
            if isinstance(event, TextDelta):
                completion.note_token()
                text.append(event.text)
            elif isinstance(event, Finished):
                return json_reply(completion.whole("".join(text), event))
    raise AssertionError("a generation ends with Finished or raises")


async def _stream(
    completion: Completion, generation: Generation, request_id: str
) -> AsyncGenerator[bytes, None]:
    """The pieces of the answer, after a first empty one."""
    async with generation:
        yield b""
        yield completion.first_chunk()
        try:
            async for event in generation.follow():
                for chunk in completion.chunks(event):
                    yield chunk
            yield sse.DONE
        except Exception as error:
            yield sse.error(answer_to(error, request_id).body(completion.dialect))
