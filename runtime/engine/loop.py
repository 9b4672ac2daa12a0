"""The engine's loop: take commands, step the batch, emit events. Runs on the main thread."""

import contextlib
import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass

from registry.checkpoint.model_memory import ModelMemory
from runtime.decoding.decoder import Decoder
from runtime.engine_messages import (
    SAVING_S,
    CacheReport,
    Cancel,
    Command,
    DescribeCache,
    Embed,
    ForgetCache,
    Generate,
    Ping,
    Pong,
    PutAside,
    Report,
    Step,
    Stop,
)
from runtime.events import Failed, SetAside
from runtime.memory.kv import logits_bytes
from runtime.requests import AnswerFormat, SamplingParams

from . import device
from .answer.follower import Follower
from .answer.grammars import Grammars
from .answer.guide import Guide
from .answer.loop_guard import LoopGuard
from .answer.reader import AnswerReader, marks_of
from .answer.vocabulary import vocabulary_of
from .batch.account import Account
from .batch.batch import Batch
from .batch.row import Row
from .cache.disk.tier import DiskTier
from .loader import LoadedModel
from .pass_meter import PassMeter

logger = logging.getLogger(__name__)


# When nothing came for so long, there is time for what may be asked for later, and memory that was
# free for more of the same goes back.
_QUIET_S = 1.0


@dataclass(frozen=True, slots=True)
class Compiled:
    """The grammar that a row waits for is ready, or failed."""

    id: int  # of the row


@dataclass(frozen=True, slots=True)
class Woken:
    """Something that rows wait for has come from disk."""


class EngineLoop:
    """Serves commands from `inbox` until `Stop`; every turn's events go out as one `Step`."""

    def __init__(
        self,
        loaded: LoadedModel,
        inbox: "queue.SimpleQueue[Command | Compiled | Woken]",
        send: Callable[[Report], None],
        *,
        prefill_chunk_tokens: int,
        prefix_cache_bytes: int = 0,
        disk: DiskTier | None = None,
    ) -> None:
        self._loaded = loaded
        self._inbox = inbox
        self._send = send
        self._decoder = Decoder(loaded.tokenizer)
        self._grammars = Grammars(
            lambda: vocabulary_of(
                loaded.tokenizer, self._decoder, loaded.eos_token_ids, loaded.info.vocab_size
            )
        )
        self._compiling: dict[int, Generate] = {}  # rows whose grammars are not ready yet
        self._batch = Batch(
            loaded.model,
            loaded.info.probed.exactness,
            prefill_chunk_tokens=prefill_chunk_tokens,
            prefix_cache_bytes=prefix_cache_bytes,
            disk=disk,
            is_memory_short=device.memory_is_short,
            account=Account(
                ModelMemory(
                    loaded.info.weight_bytes,
                    loaded.info.cache_shape,
                    logits_bytes(loaded.info.vocab_size),
                ),
                prefill_chunk_tokens,
            ),
        )
        self._passes = PassMeter(prefill_chunk_tokens)
        self._is_at_rest = False

    def run(self) -> None:
        """Returns after `Stop`."""
        while self._take_commands():
            self._passes.begin(self._batch.reading, self._batch.num_rows)
            events = self._batch.step()
            self._is_at_rest = False
            if events or not self._batch.num_rows:
                self._send(Step(events, self._batch.num_rows, self._passes.end(events)))
        self._batch.close(time.monotonic() + SAVING_S)

    def _take_commands(self) -> bool:
        """Carry out what has come in; when nothing runs, wait for more. False after `Stop`."""
        while True:
            try:
                command = self._next()
            except queue.Empty:
                return True
            match command:
                case Generate():
                    self._begin(command)
                case Compiled(id):
                    if (waiting := self._compiling.pop(id, None)) is not None:
                        self._begin(waiting)
                case Embed():
                    failed = Failed(command.id, "This is a language model: it does not embed.")
                    self._send(Step([failed], self._batch.num_rows))
                case PutAside():
                    if self._compiling.pop(command.id, None) is not None:
                        self._send(Step([SetAside(command.id, [])], self._batch.num_rows))
                    elif (events := self._batch.set_aside(command.id)) is not None:
                        self._send(Step(events, self._batch.num_rows))
                case Cancel():
                    if self._compiling.pop(command.id, None) is not None:
                        self._send(Step([], self._batch.num_rows))
                    elif (events := self._batch.remove(command.id)) is not None:
                        # It is gone now, not a step on.
                        self._send(Step(events, self._batch.num_rows))
                case DescribeCache():
                    self._send(
                        CacheReport(
                            command.number, self._batch.reuse.described(self._decoder.text_of)
                        )
                    )
                case ForgetCache(on_disk):
                    self._batch.forget(on_disk=on_disk)
                case Woken():
                    return True
                case Ping():
                    self._send(Pong(command.number))
                case Stop():
                    return False

    def _next(self) -> Command | Compiled | Woken:
        """What came in; when nothing runs, wait for it. Raises Empty."""
        if self._batch.num_rows:
            return self._inbox.get(block=self._batch.is_waiting)
        if not self._is_at_rest:
            with contextlib.suppress(queue.Empty):
                return self._inbox.get(timeout=_QUIET_S)
            self._is_at_rest = True
            if not self._grammars.is_prepared:
                self._grammars.prepare()
            device.give_back()
        return self._inbox.get()

    def _begin(self, command: Generate) -> None:
        """Start the row, or have its grammar compiled first."""
        if (grammar := command.form.grammar) is not None:
            compiled = self._grammars.compiled(grammar)
            if not compiled.done():
                self._compiling[command.id] = command
                compiled.add_done_callback(lambda _: self._inbox.put(Compiled(command.id)))
                return
        try:
            self._start(command)
        except Exception as error:
            logger.exception("row %d could not start", command.id)
            failed = Failed(command.id, f"The request could not start: {error}")
            self._send(Step([failed], self._batch.num_rows))

    def _start(self, command: Generate) -> None:
        sampling, tokens = command.sampling, [*command.tokens, *command.drawn]
        num_embeddings = self._loaded.info.vocab_size
        if (highest := max(tokens)) >= num_embeddings:
            # MLX does not check: it would read foreign memory.
            raise ValueError(f"token {highest} is beyond the model's {num_embeddings} embeddings")
        follower = self._follower(sampling, command.form)
        verdict = follower.replay(command.drawn)
        num_drawn = len(command.drawn)
        row = Row(
            command.id, tokens, sampling, follower, num_drawn, command.priority, command.borders
        )
        # Of an answer that is drawn only the word of its end was lost; a prompt that wants none is
        # read all the same, and kept.
        if verdict is not None and num_drawn and not row.is_scored:
            self._send(Step([row.finished(verdict)], self._batch.num_rows))
        else:
            self._batch.add(row)

    def _follower(self, sampling: SamplingParams, form: AnswerFormat) -> Follower:
        own = frozenset() if sampling.ignore_eos else self._loaded.eos_token_ids
        reader = AnswerReader(self._decoder.stream(marks_of(form)), sampling.stop, form)
        return Follower(
            reader,
            own.union(sampling.stop_token_ids),
            1 if sampling.max_tokens is None else sampling.max_tokens,
            guide=self._guide(form),
            loop_guard=LoopGuard() if sampling.loop_guard else None,
            text_of=self._decoder.text_of,
        )

    def _guide(self, form: AnswerFormat) -> Guide | None:
        matcher = None
        if form.grammar is not None:
            matcher = self._grammars.compiled(form.grammar).result().deep_copy()
        if matcher is None and form.max_reasoning_tokens is None:
            return None
        end: list[int] = []
        if form.thinking is not None:
            encoded = self._loaded.tokenizer.encode(form.thinking.end, add_special_tokens=False)
            end = encoded.ids
        return Guide(matcher, end, form.max_reasoning_tokens)
