"""One response under way: answered, told as frames, and stored."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from typing import Any

import msgspec

from runtime.errors import Cancelled
from runtime.events import Loading, Queued, Restarted
from web.api.progress import progress_of
from web.api.under_way import UnderWay
from web.archive.responses import Stored, Unstorable
from web.errors import ApiError, answer_to
from web.services import Services
from web.transport.encoding import encode
from web.transport.frame import Frame, Frames
from web.transport.resumable import ResumableStream

from .history import ConnectionMemory
from .request import Request
from .response_answer import ResponseAnswer

logger = logging.getLogger(__name__)

_END_S = 2.0  # that a cancelled one is waited for
_MAX_UNSTORED = 64  # of those in the background that could not be stored at their end


class Run:
    """From its beginning to its last frame. One reader takes `frames`, or waits for `whole`; both
    leave it at their end, and so must do whoever begins it and takes neither."""

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
        self._runs = runs
        self._services = services
        self._request_id = request_id
        self._memory = memory
        self._tells_progress = tells_progress
        self._answer = ResponseAnswer(
            self.response,
            callees=request.conversation.tools.callees,
            shows_reasoning=body.asked_reasoning.is_shown,
            seals_reasoning=body.seals_reasoning,
            is_generated=body.generate is not False,
        )
        asked = [request.asked] if request.asked is not None else []
        self._under_way = UnderWay(services.pool, request.conversation.model, asked)
        self._stream: ResumableStream | None = None  # of one that outlives its connection
        self._is_wanted = True
        self._is_over = asyncio.Event()
        if body.background:
            self.response.status = "queued"

    # --- its life -------------------------------------------------------------------------------

    async def begin(self) -> None:
        """What can be refused is refused here, and fast."""
        await self._under_way.begin()
        self._runs.add(self)

    def never_begun(self) -> Iterable[Frame]:
        """All frames of one that was cancelled before anything came of it; it is not stored."""
        self.response.stores = False
        yield from self._answer.begin()
        yield from self._answer.cancel()
        yield self._answer.last()

    def cancel(self) -> None:
        """It comes to its end soon."""
        self._under_way.cancel()

    async def end(self, *, is_wanted: bool = True) -> dict[str, Any]:
        """Cancel it; unless it is wanted it is not stored. How it ended, or is about to: a reader
        that takes nothing keeps nobody waiting."""
        self._is_wanted = is_wanted
        self.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._is_over.wait()
        told = self.response.told()
        return told if self.response.is_over else told | {"status": "cancelled"}

    async def leave(self) -> None:
        """Nobody takes anything of it any more."""
        self._runs.remove(self)
        self._is_over.set()
        await self._under_way.end()

    # --- what comes of it -----------------------------------------------------------------------

    async def note(self) -> None:
        """Store that it is under way: should the server end before it does, that can be told."""
        try:
            await self._services.archive.put(self._stored())
        except Unstorable as error:
            raise ApiError(
                503, f"The response cannot be stored, as 'background' wants it: {error}.",
                code="storage_failed",
            ) from error  # fmt: skip

    def outlive(self, kind: str, stream_id: str | None = None) -> ResumableStream:
        """Go on by itself, into a journal; in the background for as long as it takes."""
        in_background = bool(self.request.body.background)
        self._stream = self._services.streams.open(
            self.cancel, kind, stream_id, name=self.response.id, outlives_readers=in_background
        )
        self._answer.name_token(self._stream.token)
        self._stream.write(self.frames())
        return self._stream

    def heartbeat(self) -> Frame | None:
        """A sign of life, for a stream that has nothing else to tell; None when it is over."""
        return None if self.response.is_over else self._answer.progress()

    async def whole(self) -> dict[str, Any]:
        """The response when it is over. Raises what breaks it, unless it was cancelled."""
        try:
            try:
                async with aclosing(self._told()) as frames:
                    async for _ in frames:
                        pass
                self._answer.settle()
            except Cancelled:
                if not self._under_way.is_cancelled:
                    raise
                for _ in self._answer.cancel():
                    pass
            await self._keep()
        finally:
            await self.leave()
        return self.response.told()

    async def frames(self) -> AsyncGenerator[Frames, None]:
        """All of them; whatever happens is told in the last one."""
        is_kept = False
        try:
            try:
                async with aclosing(self._told()) as told:
                    async for frames in told:
                        yield frames
                self._answer.settle()
            except Exception as error:
                yield list(self._broken(error))
            # Stored before its last frame: who reads that may go on from it at once.
            await self._keep()
            is_kept = True
            await self.leave()
            yield [self._answer.last()]
        finally:
            if self._under_way.is_cancelled and not is_kept:  # its reader left meanwhile
                if not self.response.is_over:
                    for _ in self._answer.cancel():
                        pass
                await self._keep()
            await self.leave()

    async def _told(self) -> AsyncGenerator[Frames, None]:
        """The frames of an answer but the last. Raises what breaks it."""
        yield list(self._answer.begin())
        async with aclosing(self._under_way.events()) as events:
            async for _, event in events:
                if self.response.status == "queued" and not isinstance(event, Queued | Loading):
                    self.response.status = "in_progress"
                    yield [self._answer.progress()]
                if frames := self._answer.frames(event):
                    yield frames
                if self._tells_progress or isinstance(event, Restarted):
                    if progress := progress_of(event):
                        yield [self._answer.progress(**progress)]

    def _broken(self, error: Exception) -> Iterable[Frame]:
        if isinstance(error, Cancelled) and self._under_way.is_cancelled:
            return self._answer.cancel()
        return self._answer.fail(answer_to(error, self._request_id))

    # --- what stays of it -----------------------------------------------------------------------

    async def _keep(self) -> None:
        """For who goes on from it, or asks again."""
        body, memory = self.request.body, self._memory
        if memory is not None and self.response.status == "failed" and body.previous_response_id:
            memory.evict(body.previous_response_id)
        if not self._is_wanted:
            return
        if self.response.stores:
            try:
                return await self._services.archive.put(self._stored())
            except Unstorable as error:
                logger.error("response %s was not stored: %s", self.response.id, error)
                self.response.stores = False  # and its client is told so
                if body.background:
                    self._runs.keep_unstored(self)
        if memory is not None and self.response.status != "failed":
            own = [*self.request.conversation.said, *self.response.output]
            memory.keep(self.response.id, self.request.conversation.before, own)

    def _stored(self) -> Stored:
        conversation = self.request.conversation
        is_over = self.response.is_over
        events: list[bytes] = []
        if is_over and self._stream is not None and (told := self._stream.journal.frames):
            first, *rest = (frame.body for frame in told)
            events = [_without_token(first), *rest, self._answer.last().body]
        return Stored(
            self.response.id,
            self.response.status,
            encode(self.response.told()),
            conversation.said,
            self.response.output if is_over else (),
            conversation.before.stored_id,
            conversation.before.items,
            events,
            is_noted=is_over and bool(self.request.body.background),
        )


def _without_token(event: bytes) -> bytes:
    """What is kept for longer than a stream can be come back to."""
    told = msgspec.json.decode(event)
    told.pop("resume_token", None)
    return encode(told)


class Runs:
    """All responses under way, by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Run] = {}
        self._unstored: dict[str, Run] = {}

    def add(self, run: Run) -> None:
        """One that has begun."""
        self._by_id[run.response.id] = run

    def remove(self, run: Run) -> None:
        """It is over."""
        self._by_id.pop(run.response.id, None)

    def keep_unstored(self, run: Run) -> None:
        """One in the background is asked for later, and there is no other place for it."""
        self._unstored[run.response.id] = run
        if len(self._unstored) > _MAX_UNSTORED:
            self._unstored.pop(next(iter(self._unstored)))

    def find(self, response_id: str) -> Run | None:
        """None for one that is over, or never was."""
        return self._by_id.get(response_id)

    def find_unstored(self, response_id: str) -> Run | None:
        """One that is over, and could not be stored."""
        return self._unstored.get(response_id)

    def forget(self, response_id: str) -> None:
        """One that was not stored, or is deleted."""
        self._unstored.pop(response_id, None)


def not_found(response_id: str) -> ApiError:
    """Of one that is neither under way nor stored."""
    return ApiError(
        404, f"There is no response {response_id[:100]!r} here.", param="response_id",
        code="response_not_found",
    )  # fmt: skip
