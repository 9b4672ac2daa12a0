"""What models are asked for: requests admitted, read by a text worker, answered by an engine.

The web layer's door to the runtime: `begin` starts an answer that readers follow. What is in
memory, and what shall be, is asked of its `residency`.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import msgspec

from registry.checkpoint import chat_template
from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.kind import kind_of
from registry.checkpoint.model import Model
from registry.errors import NotAModel

from .admission import (
    first_token,
    refuse_too_large,
    refuse_too_many,
    refuse_too_slow,
    reserved_tokens,
)
from .caches import Caches
from .carrier import Carrier
from .context import check_tokens, check_vocabulary, context_length_of, fit, refuse_hopeless
from .encoding import Encoding, check_kind, embedding, reranking
from .engine_process import EngineProcess
from .estimates import Estimates
from .events import Embedded, Finished, Queued, SetAside
from .generation import Generation
from .loads import OnLoad
from .memory.meter import Meter
from .power import awake
from .power.idle_sleep import IdleSleep, System
from .prompt import Prompt
from .requests import (
    EmbeddingRequest,
    Embeddings,
    GenerationRequest,
    Input,
    Priority,
    RerankRequest,
    Scores,
)
from .residency import IsRemoved, PoolSettings, Residency
from .slot import Outcome, Slot
from .splices import Splices
from .text_messages import Decoded, Tokens
from .text_questions import TextQuestions
from .text_workers import TextWorkers
from .ticket import Interruption, Ticket

_numbers = itertools.count(1)  # of requests: theirs in the queue, and in every engine


class ModelPool:
    """All methods run on one event loop."""

    def __init__(
        self,
        settings: PoolSettings,
        on_load: OnLoad | None = None,
        is_removed: IsRemoved = lambda _: False,
        meter: Meter | None = None,
        system: System | None = None,
    ) -> None:
        """`on_load` is told of every load; what `is_removed` leaves the memory soon; `system` is
        asked not to sleep while something is computed, by default this machine's."""
        self.residency = Residency(settings, on_load, is_removed, self._chat_format, meter)
        self._settings = settings
        self._workers = TextWorkers()
        self._text = TextQuestions(self._workers)
        self._splices = Splices()
        self.caches = Caches(self.residency, self._splices)
        self._idle_sleep = IdleSleep(system)
        self.estimates = Estimates(self.residency, self._text, self._splices, settings.max_rows)

    async def _chat_format(self, model: Model) -> ChatFormat | None:
        """What the model's chat template takes; None for one that has none, or does not answer."""
        try:
            is_asked = kind_of(model) == "llm" and chat_template.exists(model.folder)
        except (OSError, ValueError, NotAModel):  # damaged: its load tells
            return None
        return await self._text.describe_template(model.folder) if is_asked else None

    # --- requests -------------------------------------------------------------------------------

    async def begin(self, model: Model, request: GenerationRequest) -> Generation:
        """Start the one answer to a request; see `begin_all`."""
        (generation,) = await self.begin_all(model, request)
        return generation

    async def begin_all(self, model: Model, request: GenerationRequest) -> list[Generation]:
        """Start to answer a request. What can be refused is raised here, the rest by following.

        Here: Draining, Paused, QueueFull, InvalidRequest, RequestTooLarge, TooSlow, LoadFailed,
        CrashLoop and InsufficientMemory. Later: EngineFailed, Draining, Cancelled, RequestTooLarge
        where memory did not come back and, for one that is carried to another engine or came while
        its model was being unloaded, the last three of these again.
        """
        prompt = Prompt(self._text, self._splices, model.folder, request)
        tally = self.residency.slot(model).tally
        generations = [Generation(tally) for _ in range(request.num_answers)]

        async def start(number: int, generation: Generation) -> None:
            life = self._generate(model, request, generation, prompt, number)
            await generation.start(prompt.answered(generation, life))

        try:
            async with asyncio.TaskGroup() as group:
                for numbered in enumerate(generations):
                    group.create_task(start(*numbered))
        except BaseException as error:  # also of one who is cancelled while the last is accepted
            await asyncio.gather(*(generation.cancel() for generation in generations))
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        return generations

    async def _generate(
        self,
        model: Model,
        request: GenerationRequest,
        generation: Generation,
        prompt: Prompt,
        number: int,
    ) -> Finished:
        slot = self.residency.slot(model)
        schedule = slot.schedule

        def tell_position(position: int) -> None:
            generation.put(Queued(position))

        num_more = request.num_answers - number  # all find room, or none
        with (
            slot.stats.count(),
            self._admitted(slot, request.priority, tell_position, num_more=num_more) as ticket,
        ):
            encoded = await self._read(model, request, generation, prompt, number, ticket)
            await self.residency.measure(slot)
            refuse_too_large(self.residency.budget, slot, ticket.num_tokens)
            if slot.unloading is not None:  # which may wait long for others: let the headers out
                generation.put(Queued(0))
                generation.accept()
            async with self.residency.in_use(slot, request.keep_alive_s) as load:
                expected = first_token(slot, ticket, encoded, self._settings.max_rows)
                refuse_too_slow(expected, request.max_ttft_s)
                schedule.ask(ticket)
                generation.accept()

                async def draw(engine: EngineProcess) -> Finished | SetAside:
                    generation.watch(partial(schedule.clear, ticket))
                    priority = schedule.rank(ticket)
                    return await engine.generate(ticket.number, generation, priority)

                carrier = Carrier(self.residency, slot, ticket, model, generation)
                started = awake.now()
                with self._idle_sleep.prevented():
                    finished = await carrier.carry(load, draw)
                finished = generation.whole(finished, ticket.waited_s, expected.total_s)
                weight_bytes = slot.memory.weight_bytes if slot.memory else 0
                slot.stats.add(finished, awake.now() - started, weight_bytes)
                return finished

    async def _read(
        self,
        model: Model,
        request: GenerationRequest,
        generation: Generation,
        prompt: Prompt,
        number: int,
        ticket: Ticket,
    ) -> Tokens:
        """Give the generation all that it begins with, and the ticket how long it may become."""
        check_kind(model, "llm")
        context_length = context_length_of(model)
        refuse_hopeless(request.input, context_length)
        check_vocabulary(request, model.vocab_size)
        encoded = await prompt.read(number, ticket.number)
        generation.prompt, generation.borders = encoded.tokens, encoded.borders
        generation.form = msgspec.structs.replace(
            encoded.form, max_reasoning_tokens=request.max_reasoning_tokens
        )
        sampling = request.sampling.completed(model.sampling, number)
        generation.sampling = fit(context_length, request.input, generation.prompt, sampling)
        ticket.num_tokens = reserved_tokens(
            len(generation.prompt), sampling.max_tokens, generation.sampling.max_tokens or 0
        )
        ticket.num_held = lambda: generation.num_held
        ticket.held_bytes = lambda: generation.held_bytes
        return encoded

    async def tokenize(self, model: Model, input: Input) -> list[int]:
        """What the model would read of it, without asking for an answer. Loads no model.

        Raises InvalidRequest, Unavailable.
        """
        return (await self._text.encode(model.folder, input)).tokens

    async def detokenize(self, model: Model, tokens: tuple[int, ...]) -> Decoded:
        """The text of tokens, and the word of each. Raises InvalidRequest, Unavailable."""
        check_tokens(tokens, model.vocab_size, "tokens")
        return await self._text.decode(model.folder, tokens)

    async def embed(self, model: Model, request: EmbeddingRequest) -> Embeddings:
        """The vectors of texts, by an embedding model. Cancelling it cancels the request.

        Raises InvalidRequest, InputTooLong, what `begin` raises and what following raises.
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
        prepare: Callable[[Model, TextQuestions], Awaitable[Encoding]],
    ) -> tuple[Encoding, Embedded]:
        slot = self.residency.slot(model)
        with (
            slot.stats.count(),
            self._admitted(slot, request.priority, lambda _: None, takes_row=False) as ticket,
        ):
            encoding = await prepare(model, self._text)
            async with self.residency.in_use(slot, request.keep_alive_s) as load:
                slot.schedule.ask(ticket)

                async def encode(engine: EngineProcess) -> Embedded:
                    inputs = encoding.inputs, encoding.first_lengths, encoding.dimensions
                    return await engine.encode(ticket.number, *inputs, request.priority)

                started = awake.now()
                carrier = Carrier(self.residency, slot, ticket, model)
                with self._idle_sleep.prevented():
                    embedded = await carrier.carry(load, encode)
                slot.stats.add_request(awake.now() - started)
                return encoding, embedded

    @contextmanager
    def _admitted(
        self,
        slot: Slot,
        priority: Priority,
        on_position: Callable[[int], None],
        *,
        takes_row: bool = True,
        num_more: int = 1,
    ) -> Iterator[Ticket]:
        """A place among the requests of a model, where there is room for `num_more`.

        Raises Draining, Paused, or QueueFull.
        """
        self.residency.intake.refuse_requests()
        max_queue, max_rows = self._settings.max_queue, self._settings.max_rows
        refuse_too_many(slot, priority, num_more, max_queue, max_rows)
        ticket = slot.schedule.enter(next(_numbers), priority, on_position, takes_row=takes_row)
        try:
            with slot.admitted():
                yield ticket
        finally:
            slot.schedule.leave(ticket)

    def outcomes(self) -> dict[str, dict[Outcome, int]]:
        """How the requests of each model ended, since the start of the pool."""
        return {name: dict(slot.stats.outcomes) for name, slot in self.residency.slots.items()}

    def interruptions(self) -> dict[str, dict[Interruption, int]]:
        """How many rows of each model left their engine before their answer was whole."""
        slots = self.residency.slots.items()
        return {name: dict(slot.schedule.interruptions) for name, slot in slots}

    def continuations(self) -> dict[str, dict[Interruption, int]]:
        """And how many of them went on."""
        slots = self.residency.slots.items()
        return {name: dict(slot.schedule.continuations) for name, slot in slots}

    # --- life -----------------------------------------------------------------------------------

    def can_serve(self, model_id: str) -> bool:
        """False while draining, and while the model's engine died too often to be started again."""
        return self._workers.is_alive and self.residency.can_serve(model_id)

    async def start(self) -> None:
        """Start the text workers and the clock that unloads idle models."""
        await self._workers.start()
        self.residency.start()

    async def drain(self, timeout_s: float) -> None:
        """Refuse new work, let running requests end, and fail those that take too long."""
        await self.residency.drain(timeout_s)

    async def probe(self) -> None:
        """Have every engine prove that it still computes; those that do not are ended, and loaded
        again for the next request."""
        engines = [slot.engine for slot in self.residency.slots.values() if slot.engine is not None]
        await asyncio.gather(*(engine.probe(next(_numbers)) for engine in engines))

    async def close(self) -> None:
        """End every child. The pool is of no more use."""
        self._idle_sleep.release()
        await asyncio.gather(self.residency.close(), self._workers.close())
