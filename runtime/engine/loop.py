"""The engine's loop: take commands, step the batch, emit events. Runs on the main thread."""

import logging
import queue
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.engine.answer.detokenizer import Detokenizer
from runtime.engine.batch.batch import Batch, RowFailed, RowPrefilled, RowResult, RowToken
from runtime.engine.batch.row import Row
from runtime.engine.sampling.sampler import RowSampling
from runtime.engine_messages import Cancel, Command, Embed, Generate, Ping, Pong, Report, Step, Stop
from runtime.events import (
    Failed,
    Finished,
    FinishReason,
    Prefill,
    RowEvent,
    TextDelta,
    Timings,
    Usage,
)

from .loader import LoadedModel

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Answer:
    """What the loop keeps about a row beside the batch: its text and its clock."""

    row: Row
    detokenizer: Detokenizer
    arrived_at: float  # monotonic, as all times here
    first_token_at: float | None = None
    num_unsent: int = 0  # tokens that made no text yet


class EngineLoop:
    """Serves commands from `inbox` until `Stop`; every turn's events go out as one `Step`."""

    def __init__(
        self,
        loaded: LoadedModel,
        inbox: "queue.SimpleQueue[Command]",
        send: Callable[[Report], None],
        *,
        max_rows: int,
        prefill_chunk_tokens: int,
    ) -> None:
        self._loaded = loaded
        self._inbox = inbox
        self._send = send
        self._answers: dict[int, Answer] = {}
        self._batch = Batch(
            loaded.model,
            loaded.tokenizer.eos_token_ids,
            max_rows=max_rows,
            prefill_chunk_tokens=prefill_chunk_tokens,
        )

    def run(self) -> None:
        """Returns after `Stop`."""
        while self._take_commands():
            results = self._batch.step()
            events = [event for result in results for event in self._guarded(result)]
            if events or not self._answers:
                self._send(Step(events, self._batch.num_rows))

    def _take_commands(self) -> bool:
        """Carry out what has come in; when nothing runs, wait for more. False after `Stop`."""
        while True:
            try:
                command = self._inbox.get(block=not self._answers)
            except queue.Empty:
                return True
            match command:
                case Generate():
                    try:
                        self._start(command)
                    except Exception as error:
                        logger.exception("row %d could not start", command.id)
                        failed = Failed(command.id, f"The request could not start: {error}")
                        self._send(Step([failed], self._batch.num_rows))
                case Embed():
                    failed = Failed(command.id, "This is a language model: it does not embed.")
                    self._send(Step([failed], self._batch.num_rows))
                case Cancel():
                    self._batch.remove(command.id)
                    if self._answers.pop(command.id, None):
                        self._send(Step([], self._batch.num_rows))  # it is gone now, not a step on
                case Ping():
                    self._send(Pong(command.number))
                case Stop():
                    return False

    def _start(self, command: Generate) -> None:
        sampling = command.sampling
        num_embeddings = self._loaded.info.vocab_size
        if (highest := max(command.tokens)) >= num_embeddings:
            # MLX does not check: it would read foreign memory.
            raise ValueError(f"token {highest} is beyond the model's {num_embeddings} embeddings")
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        row = Row(
            command.id,
            command.tokens,
            RowSampling.seeded(sampling.temperature, sampling.top_p, seed),
            max_tokens=sampling.max_tokens or 1,
        )
        detokenizer = Detokenizer(self._loaded.tokenizer.detokenizer, sampling.stop)
        self._answers[row.id] = Answer(row, detokenizer, arrived_at=time.monotonic())
        self._batch.add(row)

    def _guarded(self, result: RowResult) -> list[RowEvent]:
        """What a row's result means; a fault in it (of a tokenizer, say) costs that row alone."""
        try:
            return self._events(result)
        except Exception as error:
            logger.exception("row %d failed", result.row.id)
            self._batch.remove(result.row.id)
            self._answers.pop(result.row.id, None)
            return [Failed(result.row.id, f"The answer could not be put into words: {error}")]

    def _events(self, result: RowResult) -> list[RowEvent]:
        answer = self._answers[result.row.id]
        match result:
            case RowPrefilled():
                # The prompt's last token is left for the first decode step.
                total = len(result.row.tokens)
                done = result.row.num_prefilled if result.row.num_to_prefill else total
                return [Prefill(result.row.id, done, total)]
            case RowFailed():
                del self._answers[result.row.id]
                return [Failed(result.row.id, result.message)]
            case RowToken():
                return self._token(answer, result)

    def _token(self, answer: Answer, result: RowToken) -> list[RowEvent]:
        if answer.first_token_at is None:
            answer.first_token_at = time.monotonic()
        answer.num_unsent += 1
        text = "" if result.is_eos else answer.detokenizer.add(result.token)
        if result.is_last or answer.detokenizer.is_stopped:
            text += answer.detokenizer.finish()
        is_stopped = answer.detokenizer.is_stopped  # what was held back may end in a stop sequence
        events: list[RowEvent] = []
        if text:
            events.append(TextDelta(answer.row.id, text, answer.num_unsent))
            answer.num_unsent = 0
        if result.is_last or is_stopped:
            if not result.is_last:
                self._batch.remove(answer.row.id)
            del self._answers[answer.row.id]
            reason: FinishReason = "stop" if result.is_eos or is_stopped else "length"
            events.append(self._finished(answer, reason))
        return events

    def _finished(self, answer: Answer, reason: FinishReason) -> Finished:
        row, now = answer.row, time.monotonic()
        first_token_at = answer.first_token_at or now
        started_at = row.started_at or first_token_at
        return Finished(
            row.id,
            reason,
            Usage(prompt_tokens=len(row.tokens), completion_tokens=row.num_read),
            Timings(
                queued_s=started_at - answer.arrived_at,
                prefill_s=first_token_at - started_at,
                decode_s=now - first_token_at,
            ),
        )
