"""The routes of responses: create, ask again, follow, cancel, delete; and what is told of input."""

from typing import Any

from quart import Blueprint, Response, g, request

from web.archive.responses import UNDER_WAY
from web.dialect import Dialect
from web.door.body import read_json
from web.errors import ApiError
from web.services import Services
from web.transport.reply import json_reply

from . import streams
from .body import CountBody, ResponseBody
from .compaction import CompactBody, compacted
from .history import History
from .inclusion import check_asked, check_streamed, including
from .paging import page
from .query import flag_in, include_in, number_in
from .request import conversation_of, read
from .run import Run, Runs, not_found
from .socket import KIND


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
            if body.stream:
                return await streams.direct(run, services)
            return json_reply(await run.whole())
        try:
            if body.background:
                await run.note()
        except BaseException:
            await run.leave()
            raise
        stream = run.outlive(KIND)
        if body.stream:
            return streams.followed(stream, services)
        return json_reply(run.response.told())

    @routes.get("/responses/<response_id>")
    async def retrieve(response_id: str) -> Response:
        names = include_in(request)
        flag_in(request, "include_obfuscation")  # there is no network to hide lengths from
        if flag_in(request, "stream"):
            after = number_in(request, "starting_after", -1, 0, 2**53)
            await _check_streamed(response_id, names)
            return await streams.again(response_id, after, services, runs)
        if "starting_after" in request.args:
            raise ApiError(
                400, "'starting_after' goes with 'stream': true.", param="starting_after"
            )  # fmt: skip
        told = await _known(response_id)
        return json_reply(told | {"output": including(told["output"], names)})

    @routes.delete("/responses/<response_id>")
    async def delete(response_id: str) -> Response:
        run = runs.find(response_id)
        if run is not None:
            await run.end(is_wanted=False)
        elif runs.find_unstored(response_id) is None:
            await _known(response_id)
        runs.forget(response_id)
        if (stream := services.streams.named(response_id)) is not None:
            services.streams.forget(stream)
        await services.archive.remove(response_id)
        return json_reply({"id": response_id, "object": "response", "deleted": True})

    @routes.post("/responses/<response_id>/cancel")
    async def cancel(response_id: str) -> Response:
        run = runs.find(response_id)
        if run is not None:
            return json_reply(await run.end())
        told = await _known(response_id)
        if told["status"] in UNDER_WAY:
            raise ApiError(
                409, "Another server of this home works at it, which alone can cancel it.",
                param="response_id", code="response_in_use",
            )  # fmt: skip
        return json_reply(told)  # as often as it is cancelled, that is what came of it

    @routes.get("/responses/<response_id>/input_items")
    async def input_items(response_id: str) -> Response:
        run = runs.find(response_id) or runs.find_unstored(response_id)
        stored = await services.archive.inputs(response_id) if run is None else None
        items = run.request.conversation.said if run is not None else stored
        if items is None:
            raise not_found(response_id)
        return json_reply(page(including(items, include_in(request)), request))

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

    async def _check_streamed(response_id: str, names: list[str]) -> None:
        if (run := runs.find(response_id)) is not None:
            check_asked(names, run.request.body.included)
        elif names:
            check_streamed(names, (await _known(response_id))["output"])

    async def _known(response_id: str) -> dict[str, Any]:
        run = runs.find(response_id) or runs.find_unstored(response_id)
        if run is not None:
            return run.response.told()
        body = await services.archive.body(response_id)
        if body is None:
            raise not_found(response_id)
        return body

    return routes


def _check_http(body: ResponseBody) -> None:
    if body.generate is False:
        raise ApiError(
            400, "'generate': false is for sockets, which a prepared prompt belongs to.",
            param="generate",
        )  # fmt: skip
    if body.resumable and not body.stream:
        raise ApiError(400, "'resumable' goes with 'stream': true.", param="resumable")
