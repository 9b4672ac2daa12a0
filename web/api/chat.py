"""POST /chat/completions, streamed or whole."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from quart import Blueprint, Response, g, request

from registry.store.store import Store
from runtime.events import Event, Finished, TextDelta
from runtime.pool import ModelPool
from web.dialect import Dialect
from web.door.body import read_json
from web.errors import answer_to
from web.serving import servable
from web.settings import WebSettings
from web.transport import sse
from web.transport.reply import json_reply

from .completion import SSE, Completion, Envelope
from .schema import ChatBody, generation_request


def blueprint(dialect: Dialect, settings: WebSettings, pool: ModelPool, store: Store) -> Blueprint:
    """The route of one dialect."""
    routes = Blueprint(f"{dialect.name}-chat", __name__, url_prefix=dialect.base)

    @routes.post("/chat/completions")
    async def chat_completions() -> Response:
        body = await read_json(request, settings, ChatBody)
        model = servable(store, body.model)
        body.model = model.id  # which the answer tells
        events = pool.generate(model, generation_request(body))
        # The first event comes fast, and whatever can be refused is refused before it: from here
        # on the status is 200, and the headers of a stream go out at once.
        try:
            await anext(events)
        except BaseException:
            await events.aclose()
            raise

        completion = completion_of(dialect, pool, body)
        if body.stream:
            pieces = _stream(completion, events, g.request_id)
            return sse.reply(pieces, settings.heartbeat_s)
        return await _whole(completion, events)

    return routes


def completion_of(
    dialect: Dialect, pool: ModelPool, body: ChatBody, envelope: Envelope = SSE
) -> Completion:
    """What writes the answer to a request."""

    def fingerprint() -> str | None:
        info = pool.residency.info(body.model)  # None while it loads
        return info.fingerprint if info else None

    return Completion(dialect, body.model, fingerprint, body.includes_usage, envelope)


async def _whole(completion: Completion, events: AsyncGenerator[Event, None]) -> Response:
    """The same stream, folded. A client that leaves cancels this task, and so the row."""
    text: list[str] = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta):
                completion.note_token()
                text.append(event.text)
            elif isinstance(event, Finished):
                return json_reply(completion.whole("".join(text), event))
    raise AssertionError("a generation ends with Finished or raises")


async def _stream(
    completion: Completion, events: AsyncGenerator[Event, None], request_id: str
) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        yield completion.first_chunk()
        try:
            async for event in events:
                for chunk in completion.chunks(event):
                    yield chunk
            yield sse.DONE
        except Exception as error:
            yield sse.error(answer_to(error, request_id).body(completion.dialect))
