"""The routes of responses: create, ask again, follow, cancel, delete; and what is told of input."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from quart import Blueprint, Response, g, request

from registry.checkpoint.config import Json
from web.archive import Item, not_found
from web.dialect import Dialect
from web.door.body import read_json
from web.errors import ApiError
from web.services import Services
from web.transport import sse
from web.transport.frame import Frame
from web.transport.reply import json_reply
from web.transport.resumable import ResumableStream

from .body import CountBody, ResponseBody
from .compaction import CompactBody, compacted
from .history import History
from .request import conversation_of, read
from .run import Run, Runs

_MAX_LISTED = 100


def blueprint(dialect: Dialect, services: Services, runs: Runs) -> Blueprint:
    """The routes of one dialect."""
    routes = Blueprint(f"{dialect.name}-responses", __name__, url_prefix=dialect.base)
    history = History(services.archive)

    @routes.post("/responses")
    async def create() -> Response:
        body = await read_json(request, services.settings, ResponseBody)
        _check_http(body)
        asked = await read(services, body, request.headers, history)
        run = Run(runs, services, asked, g.request_id)
        await run.begin()
        if not (body.background or body.resumable):
            return await _direct(run, services) if body.stream else json_reply(await run.whole())
        if body.background:
            await run.note()
        stream = run.outlive()
        return _followed(stream, services) if body.stream else json_reply(run.response.told())

    @routes.get("/responses/<response_id>")
    async def retrieve(response_id: str) -> Response:
        run = runs.find(response_id)
        if _flag("stream"):
            return await _retrieved_stream(services, response_id)
        if run is not None:
            return json_reply(run.response.told())
        return json_reply(await services.archive.body(response_id))

    @routes.delete("/responses/<response_id>")
    async def delete(response_id: str) -> Response:
        run = runs.find(response_id)
        if run is not None:
            await run.end(is_wanted=False)
        if not await services.archive.remove(response_id) and run is None:
            raise not_found(response_id)
        return json_reply({"id": response_id, "object": "response", "deleted": True})

    @routes.post("/responses/<response_id>/cancel")
    async def cancel(response_id: str) -> Response:
        run = runs.find(response_id)
        if run is None:  # over: as often as it is cancelled, that is what came of it
            return json_reply(await services.archive.body(response_id))
        await run.end()
        return json_reply(run.response.told())

    @routes.get("/responses/<response_id>/input_items")
    async def input_items(response_id: str) -> Response:
        run = runs.find(response_id)
        stored = await services.archive.inputs(response_id) if run is None else None
        items = run.request.conversation.said if run is not None else stored
        if items is None:
            raise not_found(response_id)
        return json_reply(_page(items))

    @routes.post("/responses/input_tokens")
    async def input_tokens() -> Response:
        body = await read_json(request, services.settings, CountBody)
        conversation = await conversation_of(services, body, history)
        tokens = await services.pool.tokenize(conversation.model, conversation.input)
        return json_reply({"object": "response.input_tokens", "input_tokens": len(tokens)})

    @routes.post("/responses/compact")
    async def compact() -> Response:
        body = await read_json(request, services.settings, CompactBody)
        return json_reply(await compacted(services, body, request.headers, history))

    async def _retrieved_stream(services: Services, response_id: str) -> Response:
        after = _number("starting_after", -1, -1, 2**53)
        if (stream := services.streams.named(response_id)) is not None:
            return _followed(stream, services, after)
        events = await services.archive.events(response_id)
        if events is None:
            raise ApiError(
                400, "This response cannot be followed: it was created without 'background' or "
                "'resumable'.",
                param="stream",
            )  # fmt: skip
        if after >= len(events):
            raise ApiError(
                400, f"There is no event {after}; the last one is {len(events) - 1}.",
                param="starting_after",
            )  # fmt: skip
        return sse.reply(_again(events[after + 1 :]), services.settings.heartbeat_s)

    return routes


def _check_http(body: ResponseBody) -> None:
    if body.generate is False:
        raise ApiError(
            400, "'generate': false is for sockets, which a prepared prompt belongs to.",
            param="generate",
        )  # fmt: skip
    if body.resumable and not body.stream:
        raise ApiError(400, "'resumable' goes with 'stream': true.", param="resumable")


# --- streams ------------------------------------------------------------------------------------


async def _direct(run: Run, services: Services) -> Response:
    """A client that leaves ends it."""
    frames = run.frames()
    # Now it is under way: should the client be gone already, dropping it ends the answer.
    first = await anext(frames)

    async def pieces() -> AsyncGenerator[bytes, None]:
        async with aclosing(frames):
            yield sse.event(first)
            async for frame in frames:
                yield sse.event(frame)
        yield sse.DONE

    heartbeat = lambda: sse.event(run.heartbeat())  # noqa: E731
    return sse.reply(pieces(), services.settings.heartbeat_s, heartbeat)


def _followed(stream: ResumableStream, services: Services, after: int = -1) -> Response:
    """A client that leaves may come back."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        with stream.read() as journal:
            async with aclosing(journal.follow(after)) as frames:
                async for frame in frames:
                    yield sse.event(frame)
        yield sse.DONE

    stream.journal.check(after)
    return sse.reply(pieces(), services.settings.heartbeat_s)


async def _again(events: list[bytes]) -> AsyncGenerator[bytes, None]:
    for event in events:
        name = event[len(b'{"type":"') : event.index(b'"', len(b'{"type":"'))].decode()
        yield sse.event(Frame(event, name))
    yield sse.DONE


# --- lists --------------------------------------------------------------------------------------


def _page(items: list[Item]) -> dict[str, Json]:
    """As the query asks: `limit` items behind `after`, the last first unless it says `asc`."""
    order = _order()
    listed = items if order == "asc" else items[::-1]
    if (after := request.args.get("after")) is not None:
        places = [place for place, item in enumerate(listed) if item["id"] == after]
        if not places:
            raise ApiError(400, f"There is no item {after[:100]!r} here.", param="after")
        listed = listed[places[0] + 1 :]
    limit = _number("limit", 20, 1, _MAX_LISTED)
    page = listed[:limit]
    return {
        "object": "list",
        "data": list(page),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(listed) > limit,
    }


def _order() -> Literal["asc", "desc"]:
    order = request.args.get("order", "desc")
    if order != "asc" and order != "desc":
        raise ApiError(400, f"'order' is {order[:100]!r}; it may be asc or desc.", param="order")
    return "asc" if order == "asc" else "desc"


def _flag(name: str) -> bool:
    value = request.args.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise ApiError(400, f"'{name}' is {value[:100]!r}; it may be true or false.", param=name)
    return value in ("true", "1")


def _number(name: str, default: int, least: int, most: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise ApiError(
            400, f"'{name}' is {text[:100]!r}; it may be {least} to {most}.", param=name
        )  # fmt: skip
    return number
