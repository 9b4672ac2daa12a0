"""The web process's side of the text workers: who gets the next job, and who is killed.

A template belongs to a model and may loop for ever. So a folder has at most one job running, a
folder that once ran over its deadline never takes the last idle worker, and a worker over its
deadline is killed and replaced: the others' jobs do not wait for it.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from runtime.child import Child
from runtime.errors import TemplateFailed, Unavailable
from runtime.protocol import ChatMessage, Json

from .messages import EncodeChat, Refusal, Reply

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How many workers there are, and how long one may take."""

    num_workers: int = 2
    deadline_s: float = 2.0
    deadline_s_per_mb: float = 4.0  # a long prompt takes long to tokenize
    start_s: float = 20.0  # how long a new worker may take to get ready


class TextWorkers:
    """All methods run on one event loop."""

    def __init__(self, settings: TextSettings = TextSettings()) -> None:
        self._settings = settings
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._folders: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slow: set[Path] = set()  # folders that ran over their deadline
        self._changed = asyncio.Condition()
        self._spawns: set[asyncio.Task[None]] = set()

    @property
    def is_alive(self) -> bool:
        """Whether a worker lives or is on its way."""
        return bool(self._all or self._spawns)

    async def start(self) -> None:
        """Begin to spawn the workers; they get ready while the server starts."""
        for _ in range(self._settings.num_workers):
            self._begin(self._spawn())

    async def close(self) -> None:
        """End every worker."""
        for task in self._spawns:
            task.cancel()
        await asyncio.gather(*self._spawns, return_exceptions=True)
        await asyncio.gather(*(self._retire(worker) for worker in self._all))

    async def encode_chat(
        self, folder: Path, messages: tuple[ChatMessage, ...], options: dict[str, Json]
    ) -> list[int]:
        """The prompt's tokens. Raises TemplateFailed."""
        limit_s = self._deadline_s(messages)
        job = _encoder.encode(EncodeChat(str(folder), messages, options, limit_s))
        async with self._folders[folder]:
            for _ in range(2):
                worker = await self._take(folder)
                payload = await self._ask(worker, job, limit_s, folder)
                if payload is not None:
                    reply = _decoder.decode(payload)
                    if isinstance(reply, Refusal):
                        raise TemplateFailed(reply.message)
                    return reply.tokens
        raise TemplateFailed("The process that reads messages died twice over this request.")

    def _deadline_s(self, messages: tuple[ChatMessage, ...]) -> float:
        num_chars = sum(len(message.content or "") for message in messages)
        return self._settings.deadline_s + self._settings.deadline_s_per_mb * num_chars / 1e6

    async def _ask(self, worker: Child, job: bytes, limit_s: float, folder: Path) -> bytes | None:
        """A worker's reply, None if it died. It is idle again, or killed and replaced."""
        payload: bytes | None = None
        try:
            async with asyncio.timeout(limit_s):
                worker.send(job)
                payload = await worker.receive()
                return payload
        except TimeoutError:
            self._slow.add(folder)
            raise TemplateFailed(
                f"The model's chat template took longer than {limit_s:.0f} s for these messages, "
                "so it was stopped."
            ) from None
        finally:
            # A caller that left has not taken its reply: such a worker cannot be used again.
            if payload is None:
                self._replace(worker)
            else:
                await self._give_back(worker)

    async def _take(self, folder: Path) -> Child:
        needed = 2 if folder in self._slow else 1
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._idle) >= needed or not self.is_alive)
            if not self.is_alive:
                raise Unavailable("No process that reads messages could be started.")
            return self._idle.pop()

    async def _give_back(self, worker: Child) -> None:
        async with self._changed:
            self._idle.append(worker)
            self._changed.notify_all()

    def _replace(self, worker: Child) -> None:
        self._begin(self._spawn(), self._retire(worker))

    def _begin(self, *steps: Coroutine[Any, Any, object]) -> None:
        """Run these in the background; `close` ends them."""

        async def run() -> None:
            await asyncio.gather(*steps)

        task = asyncio.create_task(run())
        self._spawns.add(task)
        task.add_done_callback(self._spawns.discard)

    async def _spawn(self) -> None:
        worker = await Child.spawn("runtime.text")
        self._all.add(worker)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.start_s):
                if await worker.receive() is not None:  # it greets when it is ready
                    await self._give_back(worker)
                    return
        await self._retire(worker)

    async def _retire(self, worker: Child) -> None:
        await worker.kill()
        self._all.discard(worker)
