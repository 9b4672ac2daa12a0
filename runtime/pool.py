"""What models are asked for: requests admitted, read by a text worker, answered by an engine.

The web layer's door to the runtime: `generate` is one stream of events per request. What is in
memory, and what shall be, is asked of its `residency`.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial

from registry.checkpoint import chat_template
from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.kind import kind_of
from registry.checkpoint.model import Model
from registry.errors import NotAModel

from .context import context_length_of, fit, refuse_hopeless
from .encoding import Encoding, check_kind, embedding, reranking
from .errors import QueueFull
from .events import Embedded, Event, Finished, Queued
from .requests import EmbeddingRequest, Embeddings, GenerationRequest, RerankRequest, Scores
from .residency import IsRemoved, OnLoad, PoolSettings, Residency
from .slot import Outcome, Slot
from .text_workers import TextWorkers


class ModelPool:
    """All methods run on one event loop."""

    def __init__(
        self,
        settings: PoolSettings,
        on_load: OnLoad | None = None,
        is_removed: IsRemoved = lambda _: False,
    ) -> None:
        """`on_load` is told of every load; what `is_removed` leaves the memory soon."""
        self.residency = Residency(settings, on_load, is_removed, self._chat_format)
        self._settings = settings
        self._text = TextWorkers()

    async def _chat_format(self, model: Model) -> ChatFormat | None:
        """What the model's chat template takes; None for one that has none, or does not answer."""
        try:
            is_asked = kind_of(model) == "llm" and chat_template.exists(model.folder)
        except (OSError, ValueError, NotAModel):  # damaged: its load tells
            return None
        return await self._text.describe_template(model.folder) if is_asked else None

    # --- requests -------------------------------------------------------------------------------

    async def generate(
        self, model: Model, request: GenerationRequest
    ) -> AsyncGenerator[Event, None]:
        """Answer one request. The first event is `Queued`; what can be refused is raised before.

        Before `Queued`: Draining, QueueFull, InvalidRequest, LoadFailed, CrashLoop,
        InsufficientMemory. After it: EngineFailed, Draining, and for a request that came while its
        model was being unloaded, the last two. Leaving the iterator cancels the request.
        """
        slot = self.residency.slot(model)
        with slot.stats.count() as finish:
            async with aclosing(self._generate(slot, model, request)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        finish()
                    yield event

    async def _generate(
        self, slot: Slot, model: Model, request: GenerationRequest
    ) -> AsyncGenerator[Event, None]:
        with self._admitted(slot) as position:
            check_kind(model, "llm")
            context_length = context_length_of(model)
            refuse_hopeless(request, context_length)
            tokens = await self._text.encode_chat(
                model.folder, request.messages, request.template_options, request.turn
            )
            sampling = fit(context_length, tokens, request.sampling.completed(model.sampling))
            is_leaving = slot.unloading is not None
            if is_leaving:  # an unload may wait long for other requests: let the headers out
                yield Queued(0, position)
            async with self.residency.in_use(slot, request.keep_alive_s) as load:
                if not is_leaving:
                    yield Queued(0, position)
                if load is not None:
                    async for progress in load.watch():
                        yield progress
                engine = await self.residency.engine(slot, load)
                started = time.monotonic()
                async with aclosing(engine.generate(tokens, sampling)) as events:
                    async for event in events:
                        if isinstance(event, Finished):
                            slot.stats.add(event, time.monotonic() - started)
                        yield event

    async def embed(self, model: Model, request: EmbeddingRequest) -> Embeddings:
        """The vectors of texts, by an embedding model. Cancelling it cancels the request.

        Raises InvalidRequest, InputTooLong, and what `generate` raises.
        """
        encoding, embedded = await self._encode(model, request, partial(embedding, request))
        return Embeddings(embedded.vectors, embedded.num_dimensions, encoding.num_tokens)

    async def rerank(self, model: Model, request: RerankRequest) -> Scores:
        """How well each document answers the query, by a cross-encoder. Raises as `embed` does."""
        encoding, embedded = await self._encode(model, request, partial(reranking, request))
        scores = memoryview(embedded.vectors).cast("f")
        return Scores(tuple(scores), encoding.num_tokens)

    async def _encode(
        self,
        model: Model,
        request: EmbeddingRequest | RerankRequest,
        prepare: Callable[[Model, TextWorkers], Awaitable[Encoding]],
    ) -> tuple[Encoding, Embedded]:
        slot = self.residency.slot(model)
        with slot.stats.count(), self._admitted(slot):
            encoding = await prepare(model, self._text)
            async with self.residency.in_use(slot, request.keep_alive_s) as load:
                engine = await self.residency.engine(slot, load)
                started = time.monotonic()
                embedded = await engine.encode(
                    encoding.inputs, encoding.first_lengths, encoding.dimensions
                )
                slot.stats.add_request(time.monotonic() - started)
                return encoding, embedded

    @contextmanager
    def _admitted(self, slot: Slot) -> Iterator[int]:
        """Count a request in; yields how many of its model wait in front of it.

        Raises Draining, or QueueFull.
        """
        self.residency.refuse_when_draining()
        settings = self._settings
        if slot.requests.number >= settings.max_rows + settings.max_queue:
            wait_s = slot.stats.request_s * settings.max_queue / settings.max_rows
            raise QueueFull(
                f"{settings.max_queue} requests already wait for '{slot.model.id}'; "
                "send fewer at once, or try again later.",
                retry_after_s=min(60, max(1, math.ceil(wait_s))),
            )
        with slot.admitted():
            yield max(0, slot.requests.number - settings.max_rows)

    def outcomes(self) -> dict[str, dict[Outcome, int]]:
        """How the requests of each model ended, since the start of the pool."""
        return {name: dict(slot.stats.outcomes) for name, slot in self.residency.slots.items()}

    # --- life -----------------------------------------------------------------------------------

    def can_serve(self, model_id: str) -> bool:
        """False while draining, and while the model's engine died too often to be started again."""
        return self._text.is_alive and self.residency.can_serve(model_id)

    async def start(self) -> None:
        """Start the text workers and the clock that unloads idle models."""
        await self._text.start()
        self.residency.start()

    async def drain(self, timeout_s: float) -> None:
        """Refuse new work, let running requests end, and fail those that take too long."""
        await self.residency.drain(timeout_s)

    async def close(self) -> None:
        """End every child. The pool is of no more use."""
        await asyncio.gather(self.residency.close(), self._text.close())
