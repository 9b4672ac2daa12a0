"""One response under way: answered, told as frames, and stored."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from registry.checkpoint.config import Json
from runtime.errors import Cancelled
from runtime.events import Loading, Queued, Restarted
from web.api.answering import UnderWay
from web.api.progress import progress_of
from web.archive import Kind, Stored, Unstorable
from web.errors import ApiError, answer_to
from web.services import Services
from web.transport.frame import Frame
from web.transport.resumable import ResumableStream

from .history import ConnectionMemory
from .items import Item
from .request import Request
from .response_answer import ResponseAnswer

logger = logging.getLogger(__name__)


class Run:
    """From its beginning to its last frame. One reader takes `frames`, or waits for `whole`."""

    def __init__(
        self,
        runs: "Runs",
        services: Services,
        request: Request,
        request_id: str,
        memory: ConnectionMemory | None = None,
        *,
        tells_progress: bool = False,
    ) -> None:
        """`memory` takes up what is not to be stored."""
        body = request.body
        self.request = request
        self.response = request.response
        self.stream: ResumableStream | None = None  # of one that outlives its connection
        self._runs = runs
        self._services = services
        self._request_id = request_id
        self._memory = memory
        self._tells_progress = tells_progress
        self._model_id = request.conversation.model.id
        self._answer = ResponseAnswer(
            self.response,
            custom=request.conversation.tools.custom,
            shows_reasoning=body.asked_reasoning.is_shown,
            seals_reasoning=body.seals_reasoning,
            is_generated=body.generate is not False,
        )
        asked = [request.asked] if request.asked is not None else []
        self._under_way = UnderWay(services.pool, request.conversation.model, asked)
        self._is_wanted = True
        self._is_over = asyncio.Event()
        if body.background:
            self.response.status = "queued"

    async def begin(self) -> None:
        """What can be refused is refused here, and fast."""
        await self._under_way.begin()
        self._runs.add(self)

    async def note(self) -> None:
        """Store that it is under way: should the server end before it does, that can be told."""
        said: list[tuple[Kind, Item]] = [("input", item) for item in self.request.conversation.said]
        try:
            await self._services.archive.put(
                Stored(self.response.id, None, self.response.kept(), said)
            )
        except Unstorable as error:
            raise ApiError(
                503, f"The response cannot be stored, as 'background' wants it: {error}.",
                code="storage_failed",
            ) from error  # fmt: skip

    def never_begun(self) -> Iterable[Frame]:
        """All frames of one that was cancelled before anything came of it."""
        yield from self._answer.begin()
        yield from self._answer.cancel()
        yield self._answer.last()

    def outlive(self, stream_id: str | None = None) -> ResumableStream:
        """Go on by itself, into a journal; in the background for as long as it takes."""
        in_background = bool(self.request.body.background)
        self.stream = self._services.streams.open(
            self.cancel, stream_id, name=self.response.id, outlives_readers=in_background
        )
        self._answer.name_token(self.stream.token)
        self.stream.write(self.frames())
        return self.stream

    async def whole(self) -> dict[str, Json]:
        """The response when it is over. Raises what breaks it, unless it was cancelled."""
        try:
            async with aclosing(self._told()) as frames:
                async for _ in frames:
                    pass
        except Cancelled:
            if not self._under_way.is_cancelled:
                raise
            for _ in self._answer.cancel():
                pass
        finally:
            self._end()
        if self.response.status != "cancelled":
            self._answer.settle()
        await self._keep([])
        return self.response.told()

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """All of them; whatever happens is told in the last one."""
        told: list[bytes] = []  # kept for a stream that can be followed again
        keeps = self.stream is not None
        try:
            async with aclosing(self._ended()) as frames:
                async for frame in frames:
                    if keeps:
                        told.append(frame.body)
                    yield frame
            # Stored before its last frame: who reads that may go on from it at once.
            await self._keep(told)
            self._end()
            yield self._answer.last()
        finally:
            self._end()

    async def _ended(self) -> AsyncGenerator[Frame, None]:
        """All but the last frame, however it ends."""
        try:
            async with aclosing(self._told()) as frames:
                async for frame in frames:
                    yield frame
            self._answer.settle()
        except Exception as error:
            if isinstance(error, Cancelled) and self._under_way.is_cancelled:
                last = self._answer.cancel()
            else:
                last = self._answer.fail(answer_to(error, self._request_id))
            for frame in last:
                yield frame

    async def _told(self) -> AsyncGenerator[Frame, None]:
        async with self._under_way:
            for frame in self._answer.begin():
                yield frame
            async with aclosing(self._under_way.events()) as events:
                async for _, event in events:
                    if self.response.status == "queued" and not isinstance(event, Queued | Loading):
                        self.response.status = "in_progress"
                        yield self._answer.progress()
                    for frame in self._answer.frames(event):
                        yield frame
                    if self._tells_progress or isinstance(event, Restarted):
                        if progress := progress_of(event):
                            yield self._answer.progress(**progress)

    def heartbeat(self) -> Frame:
        """A sign of life, for a stream that has nothing else to tell."""
        return self._answer.progress()

    def cancel(self) -> None:
        """It comes to its end soon."""
        self._under_way.cancel()

    async def end(self, *, is_wanted: bool = True) -> None:
        """Cancel it, and wait until it is over; unless it is wanted it is not stored."""
        self._is_wanted = is_wanted
        self.cancel()
        await self._is_over.wait()

    def _end(self) -> None:
        self._runs.remove(self)
        self._is_over.set()

    async def _keep(self, events: list[bytes]) -> None:
        """For who goes on from it, or asks again."""
        if not self._is_wanted:
            return
        said, output = self.request.conversation.said, self.response.output
        before = self.request.conversation.before
        if not self.response.stores:
            if self._memory is not None and self.response.status != "failed":
                self._memory.keep(self.response.id, before.items, [*said, *output])
            return
        own: list[tuple[Kind, Item]] = [("input", item) for item in said]
        own += [("output", item) for item in output]
        if not before.is_stored:
            own = [("context", item) for item in before.items] + own
        if events:
            events = [*events, self._answer.last().body]
        previous_id = self.request.body.previous_response_id if before.is_stored else None
        stored = Stored(self.response.id, previous_id, self.response.kept(), own, events)
        try:
            await self._services.archive.put(stored)
        except Unstorable as error:
            logger.error("response %s was not stored: %s", self.response.id, error)
            self.response.stores = False  # and its client is told so


class Runs:
    """All responses under way, by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Run] = {}

    def add(self, run: Run) -> None:
        self._by_id[run.response.id] = run

    def remove(self, run: Run) -> None:
        self._by_id.pop(run.response.id, None)

    def find(self, response_id: str) -> Run | None:
        """None for one that is over, or never was."""
        return self._by_id.get(response_id)
