"""Models on their way into memory and out of it: the one answer of /models and {store}/models."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import cast, get_args

from registry.checkpoint.config import Json
from registry.checkpoint.kv_bits import KvBits
from registry.checkpoint.model import Model
from runtime.events import Loading
from runtime.residency import Residency
from runtime.resident import ResidentModel
from runtime.slot import Unloaded

from .dialect import Dialect
from .errors import ApiError, answer_to
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
        kv_bits: KvBits | None = None,
        note_kv_bits: Callable[[str, KvBits], None] | None = None,
    ) -> "LoadReply":
        """`note_kv_bits` is told of them when the model has them.

        Raises what speaks against loading the model now.
        """
        steps = residency.load(model, keep_alive_s=keep_alive_s, pin=pin, kv_bits=kv_bits)
        if kv_bits is not None and note_kv_bits is not None:
            steps = _then(steps, partial(note_kv_bits, model.id, kv_bits))
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


async def _then(
    steps: AsyncGenerator[Loading | ResidentModel, None], note: Callable[[], None]
) -> AsyncGenerator[Loading | ResidentModel, None]:
    """The steps of a load; `note` is called in a thread before the last is told."""
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, ResidentModel):
                await asyncio.to_thread(note)
            yield step


def checked_kv_bits(said: int | None) -> KvBits | None:
    """What a body says of them. Raises ApiError."""
    if said is not None and said not in get_args(KvBits):
        message = f"'kv_bits' is {said}; send 4 or 8, or 16 for a KV cache that is not quantised."
        raise ApiError(400, message, param="kv_bits", code="invalid_value")
    return cast(KvBits | None, said)
