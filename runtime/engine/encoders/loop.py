"""The loop of an embedding model's engine: collect what has come in, encode a pack, answer."""

import logging
import queue
import time
from collections.abc import Callable, Sequence

from runtime.cached import CacheDescription
from runtime.engine import device
from runtime.engine_messages import (
    CacheReport,
    Cancel,
    Command,
    DescribeCache,
    Embed,
    Generate,
    Ping,
    Pong,
    Report,
    Step,
    Stop,
)
from runtime.events import Embedded, Failed, RowEvent

from .batch import EncodeBatch, Input, Request
from .encoder import Encoder

logger = logging.getLogger(__name__)

_PACK_S = 0.5  # how long a pass should take: what arrives meanwhile waits for its end
_MIN_PACK_TOKENS = 256


class EncodeLoop:
    """Serves commands from `inbox` until `Stop`, on the main thread as `EngineLoop` does."""

    def __init__(
        self,
        encoder: Encoder,
        inbox: "queue.SimpleQueue[Command]",
        send: Callable[[Report], None],
        *,
        pack_tokens: int,
    ) -> None:
        self._encoder = encoder
        self._inbox = inbox
        self._send = send
        self._batch = EncodeBatch()
        self._max_tokens = self._pack_tokens = pack_tokens
        self._is_stopped = False

    def run(self) -> None:
        """Returns after `Stop`."""
        while True:
            self._take_commands(may_wait=True)
            if self._is_stopped:
                return
            if pack := self._batch.next_pack(self._pack_tokens):
                self._report(self._encode(pack))

    def _take_commands(self, *, may_wait: bool = False) -> None:
        """Carry out what has come in; when nothing waits to be encoded, wait for more."""
        while not self._is_stopped:
            try:
                command = self._inbox.get(block=may_wait and not self._batch.num_requests)
            except queue.Empty:
                return
            match command:
                case Embed():
                    self._start(command)
                case Generate():
                    message = "This is an embedding model: it does not generate."
                    self._report([Failed(command.id, message)])
                case Cancel():
                    if self._batch.remove(command.id):
                        self._report([])
                case DescribeCache():
                    self._send(CacheReport(command.number, CacheDescription()))
                case Ping():
                    self._send(Pong(command.number))
                case Stop():
                    self._is_stopped = True

    def _start(self, command: Embed) -> None:
        try:
            if not command.inputs:
                raise ValueError("there are no inputs")
            for tokens in command.inputs:
                self._encoder.check(tokens)
            self._batch.add(command)
        except Exception as error:
            logger.exception("request %d could not start", command.id)
            self._report([Failed(command.id, f"The request could not start: {error}")])

    def _encode(self, pack: Sequence[Input]) -> list[RowEvent]:
        """The events of requests that end with this pack. A fault costs its own request only."""
        started = time.monotonic()
        try:
            vectors = self._encoder.encode(pack, self._take_commands)
        except Exception as error:
            if len(pack) > 1:  # one of them is to blame, so each is tried by itself
                alone = (entry for entry in pack if self._batch.holds(entry.request))
                return [event for entry in alone for event in self._encode([entry])]
            logger.exception("an input of request %d failed", pack[0].request.id)
            self._batch.remove(pack[0].request.id)
            message = f"The input could not be encoded: {error}"
            is_broken = not device.is_out_of_memory(error)
            return [Failed(pack[0].request.id, message, is_broken)]
        self._adapt(len(pack) * len(pack[0].tokens), time.monotonic() - started)
        done = (self._batch.put(entry, row) for entry, row in zip(pack, vectors, strict=True))
        return [_embedded(request) for request in done if request is not None]

    def _adapt(self, num_tokens: int, elapsed_s: float) -> None:
        """Choose the size of the next packs by how long this one took."""
        if num_tokens < _MIN_PACK_TOKENS:
            return  # too little to measure
        fitting = int(num_tokens / max(elapsed_s, 1e-6) * _PACK_S)
        self._pack_tokens = min(self._max_tokens, max(_MIN_PACK_TOKENS, fitting))

    def _report(self, events: list[RowEvent]) -> None:
        self._send(Step(events, self._batch.num_requests))


def _embedded(request: Request) -> Embedded:
    return Embedded(request.id, b"".join(request.vectors), len(request.vectors[0]) // 4)
