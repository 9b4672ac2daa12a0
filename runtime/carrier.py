"""Carries a request from engine to engine until it is answered: a death is a pause, not an end."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from registry.checkpoint.model import Model

from .engine_process import EngineProcess
from .errors import Blamed, EngineDied, EngineStopped
from .events import Loading, Restarted, SetAside
from .generation import Generation
from .residency import Residency
from .slot import Load, Slot
from .ticket import Ticket

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_MAX_LOADS = 3  # that die before a request which waits for them is given up


class Carrier:
    """Of one request, which holds `slot` in use meanwhile."""

    def __init__(
        self,
        residency: Residency,
        slot: Slot,
        ticket: Ticket,
        model: Model,
        generation: Generation | None = None,
    ) -> None:
        """`model` is what was asked; `generation` is told of loads and deaths, if there is one."""
        self._residency = residency
        self._slot = slot
        self._ticket = ticket
        self._model = model
        self._generation = generation

    async def carry(
        self, load: Load | None, row: Callable[[EngineProcess], Awaitable[Answer | SetAside]]
    ) -> Answer:
        """Run `row` in one engine after the other, each time that its turn comes, until it answers.

        Raises Blamed for a request that engines die of, EngineStopped when there shall be no next
        engine, and what `row` or a load raises.
        """
        ticket, schedule = self._ticket, self._slot.schedule
        while True:
            await ticket.turn()
            engine = await self._engine(load)
            load = None
            if not ticket.is_running or engine.has_ended.is_set():
                continue  # it had to make room while the model loaded, or was never in that engine
            ticket.put_aside = partial(engine.put_aside, ticket.number)
            try:
                answer = await row(engine)
            except EngineDied as death:
                self._survive(death)
            else:
                if not isinstance(answer, SetAside):
                    return answer
                if ticket.is_running:  # nobody asked for it: the engine was short of memory
                    schedule.interrupt(ticket, "memory")
            finally:
                ticket.put_aside = None

    async def _engine(self, load: Load | None) -> EngineProcess:
        """A load that died is tried again, but not for ever: some take minutes each."""
        for attempt in range(1, _MAX_LOADS + 1):
            try:
                engine = await self._residency.engine(self._slot, load, self._tell_loading)
            except EngineDied as death:
                if attempt == _MAX_LOADS or self._is_last(death):
                    raise
                logger.warning("%s It is loaded again.", death)
                load = None
            else:
                if engine.model.folder == self._model.folder:
                    return engine
                # Other weights, perhaps other tokens: they cannot go on with what these began.
                raise EngineStopped(f"Model '{self._model.id}' was replaced meanwhile.")
        raise AssertionError("the last attempt returns or raises")

    def _survive(self, death: EngineDied) -> None:
        """Wait for the next engine, as a suspect; on trial already, it is to blame."""
        if self._is_last(death):
            raise death
        if self._ticket.is_suspect and self._ticket.is_running:
            raise Blamed(death.reason) from death
        if self._generation is not None:
            self._generation.put(Restarted(death.reason, len(self._generation.drawn)))
        self._slot.schedule.interrupt(self._ticket, "death")

    def _tell_loading(self, progress: Loading) -> None:
        if self._generation is not None:
            self._generation.put(progress)

    def _is_last(self, death: EngineDied) -> bool:
        """Whether the model shall not be loaded again for this."""
        return isinstance(death, EngineStopped) or self._residency.intake.is_draining
