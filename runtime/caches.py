"""The prefix caches of the models in memory: what they hold, how prompts fared with them."""

import asyncio
from dataclasses import dataclass

from .cached import CacheDescription
from .engine_process import EngineProcess
from .errors import EngineFailed, ModelNotLoaded, Unavailable
from .residency import Residency
from .splices import SplicedPrompt, Splices


@dataclass(frozen=True, slots=True)
class ModelCache:
    """Of one model."""

    model_id: str
    description: CacheDescription
    spliced: list[SplicedPrompt]  # the newest first


class Caches:
    """All methods run on one event loop. A model that has no engine has no cache."""

    def __init__(self, residency: Residency, splices: Splices) -> None:
        self.splices = splices
        self._residency = residency

    def models(self) -> list[str]:
        """The ids of those that may have one: models that draw."""
        return [engine.model.id for engine in self._engines()]

    async def describe(self, model_id: str | None = None) -> list[ModelCache]:
        """What one model's engine says of it, or what those say that answer.

        Raises ModelNotLoaded; for one model also EngineFailed and Unavailable.
        """
        engines = self._asked(model_id)
        answers = await asyncio.gather(
            *(engine.cache.describe() for engine in engines), return_exceptions=True
        )
        described = []
        for engine, answer in zip(engines, answers, strict=True):
            if isinstance(answer, CacheDescription):
                notes = self.splices.notes(engine.model.folder)
                described.append(ModelCache(engine.model.id, answer, notes))
            elif model_id is not None or not isinstance(answer, EngineFailed | Unavailable):
                raise answer
        return described

    def forget(self, model_id: str | None = None) -> list[str]:
        """Have a model's cache dropped, or all, on disk too; whose. Raises ModelNotLoaded."""
        engines = self._asked(model_id)
        for engine in engines:
            engine.cache.forget(on_disk=True)
            self.splices.forget(engine.model.folder)
        if model_id is None:
            self.splices.forget()
        return [engine.model.id for engine in engines]

    def _engines(self) -> list[EngineProcess]:
        slots = self._residency.slots.values()
        return [
            slot.engine
            for slot in slots
            if slot.engine is not None and slot.info is not None and slot.info.kind == "llm"
        ]

    def _asked(self, model_id: str | None) -> list[EngineProcess]:
        engines = self._engines()
        asked = [engine for engine in engines if model_id in (None, engine.model.id)]
        if model_id is not None and not asked:
            raise ModelNotLoaded(model_id)
        return asked
