"""A request answered: as a whole, or as a stream of server-sent events.

An API is a shape of body, what it asks of the runtime, and a `Rendering` of what comes; all else
is here and the same for all. `openai.chat_socket` is the way of frames over a socket.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence

from quart import Response, g

from registry.checkpoint.config import Json
from registry.checkpoint.model import Model
from runtime.events import Event, Restarted
from runtime.requests import GenerationRequest
from web.errors import Failure, answer_to
from web.services import Services
from web.transport import sse
from web.transport.frame import Frame
from web.transport.reply import json_reply

from .answer import Answer
from .under_way import UnderWay


class Rendering(ABC):
    """The answers to one request, as an API writes them. Does no I/O."""

    done: bytes = b""  # what ends a stream of events that went well

    def __init__(self, num_answers: int = 1, call_prefix: str = "call_") -> None:
        self.answers = [Answer(call_prefix) for _ in range(num_answers)]

    @property
    def is_whole(self) -> bool:
        """Whether all answers are."""
        return all(answer.finished is not None for answer in self.answers)

    @abstractmethod
    def begin(self, num_prompt_tokens: int) -> Iterable[Frame]:
        """The first frames, before anything is drawn."""

    @abstractmethod
    def frames(self, number: int, event: Event) -> Iterable[Frame]:
        """What an event adds to a stream; `answers[number]` has it already."""

    @abstractmethod
    def end(self) -> Iterable[Frame]:
        """The last frames, when all answers are whole."""

    @abstractmethod
    def failed(self, failure: Failure) -> Frame:
        """The last frame of a stream that breaks."""

    @abstractmethod
    def whole(self) -> dict[str, Json]:
        """The answers to a request that does not stream."""


async def answer(
    services: Services,
    model: Model,
    requests: Sequence[GenerationRequest],
    rendering: Rendering,
    *,
    streams: bool,
) -> Response:
    """What can be refused is refused here, and fast: later the status is 200 in any case."""
    under_way = UnderWay(services.pool, model, requests)
    await under_way.begin()
    if not streams:
        return await _whole(under_way, rendering)
    pieces = _stream(under_way, rendering, g.request_id)
    # Now it is under way: should the client be gone already, dropping it ends the answers.
    await anext(pieces)
    return sse.reply(pieces, services.settings.heartbeat_s)


async def _whole(under_way: UnderWay, rendering: Rendering) -> Response:
    """The same stream, folded. A client that leaves cancels this task, and so the answers."""
    async with under_way:
        async for number, event in under_way.events():
            rendering.answers[number].add(event)
    return json_reply(rendering.whole())


async def _stream(
    under_way: UnderWay, rendering: Rendering, request_id: str
) -> AsyncGenerator[bytes, None]:
    """The events, after a first empty piece."""
    async with under_way:
        yield b""
        try:
            for frame in rendering.begin(under_way.num_prompt_tokens):
                yield sse.event(frame)
            async for number, event in under_way.events():
                rendering.answers[number].add(event)
                is_told = False
                for frame in rendering.frames(number, event):
                    is_told = True
                    yield sse.event(frame)
                if isinstance(event, Restarted) and not is_told:
                    yield sse.RESTARTED
            for frame in rendering.end():
                yield sse.event(frame)
            yield rendering.done
        except Exception as error:
            yield sse.event(rendering.failed(answer_to(error, request_id)))
