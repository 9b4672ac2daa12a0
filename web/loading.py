"""Models on their way into memory and out of it: the one answer of /models and {store}/models."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from registry.checkpoint.config import Json
from registry.checkpoint.model import Model
from runtime.events import Loading
from runtime.residency import Residency
from runtime.resident import ResidentModel
from runtime.slot import Unloaded

from .dialect import Dialect
from .errors import answer_to
from .transport import sse


def freed(unloaded: Unloaded) -> dict[str, Json]:
    """What an unload gave back, in bytes that the server and all its children hold."""
    return {
        "freed_bytes": unloaded.freed_bytes,
        "resident_before": unloaded.resident_before,
        "resident_after": unloaded.resident_after,
    }


class LoadReply:
    """A load that was not refused. Read it once, by `result` or by `events`."""

    def __init__(
        self, first: Loading | ResidentModel, rest: AsyncGenerator[Loading | ResidentModel, None]
    ) -> None:
        self._first = first
        self._rest = rest

    @classmethod
    async def begin(
        cls,
        residency: Residency,
        model: Model,
        *,
        keep_alive_s: float | None = None,
        pin: bool | None = None,
    ) -> "LoadReply":
        """Raises what speaks against loading the model now."""
        steps = residency.load(model, keep_alive_s=keep_alive_s, pin=pin)
        try:
            return cls(await anext(steps), steps)
        except BaseException:
            await steps.aclose()
            raise

    async def result(self) -> ResidentModel:
        """The model, when it is in memory."""
        last = self._first
        async with aclosing(self._rest):
            async for step in self._rest:
                last = step
        assert isinstance(last, ResidentModel)
        return last

    async def events(
        self,
        dialect: Dialect,
        request_id: str,
        *,
        loading: Callable[[Loading], Json],
        loaded: Callable[[ResidentModel], Json],
    ) -> AsyncGenerator[bytes, None]:
        """About one event a percent, then the loaded model, each as the caller writes it."""
        percent = -1

        def piece(step: Loading | ResidentModel) -> bytes:
            nonlocal percent
            if isinstance(step, ResidentModel):
                return sse.data(loaded(step))
            before, percent = percent, int(step.fraction * 100)
            return b"" if percent == before else sse.data(loading(step))

        async with aclosing(self._rest):
            try:
                yield piece(self._first)
                async for step in self._rest:
                    if line := piece(step):
                        yield line
            except Exception as error:
                yield sse.error(answer_to(error, request_id).body(dialect))
