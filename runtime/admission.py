"""What a request can count on before it runs: that there is memory for it, and how soon it starts.

Asked by `pool` at the door, and by whoever only wants to know.
"""

from dataclasses import dataclass

from .budget import Budget, cached_bytes, rows_need, running_lengths
from .errors import RequestTooLarge, TooSlow
from .memory.prediction import Prediction, predict
from .requests import GenerationRequest
from .slot import Slot
from .text_messages import Tokens
from .ticket import Ticket

# Room that is kept for an answer of no named length. Most are shorter, and what a whole context
# takes would keep others waiting that fit; longer ones grow by what is left, or are set aside.
ANSWER_TOKENS = 1024


def reserved_tokens(prompt_tokens: int, asked: int | None, max_tokens: int) -> int:
    """How long a row may become before its request has all that it was promised.

    `asked` is what the client named, `max_tokens` what the context leaves of it: a number beyond
    the context (agents send 32,000 to every model) names no length either.
    """
    is_open = asked is None or asked > max_tokens
    return prompt_tokens + (min(max_tokens, ANSWER_TOKENS) if is_open else max_tokens)


def refuse_too_large(budget: Budget, slot: Slot, num_tokens: int) -> None:
    """Raises RequestTooLarge for a row that would not fit if all others were over.

    Of a model whose needs are not known, nothing is refused.
    """
    needed = needed_alone(slot, [num_tokens])
    if needed and needed > (drained := budget.drained_bytes(slot)):
        raise RequestTooLarge(num_tokens, needed, budget.available_bytes(), drained)


def needed_alone(slot: Slot, lengths: list[int]) -> int:
    """What rows take with nobody beside them, and their model where that is not loaded."""
    return rows_need(slot, lengths) + _load_bytes(slot)


def _load_bytes(slot: Slot) -> int:
    if slot.memory is None or slot.engine is not None or slot.load is not None:
        return 0
    return slot.memory.weight_bytes + slot.memory.process_bytes


@dataclass(frozen=True, slots=True)
class FirstToken:
    """When the first token is expected, in seconds. None: not known yet."""

    queue_s: float
    load_s: float | None
    prefill_s: float | None

    @property
    def known_s(self) -> float:
        """What is not known counts as nothing."""
        return self.queue_s + (self.load_s or 0.0) + (self.prefill_s or 0.0)

    @property
    def total_s(self) -> float | None:
        return None if None in (self.load_s, self.prefill_s) else self.known_s


def first_token(slot: Slot, ticket: Ticket, prompt: Tokens, max_rows: int) -> FirstToken:
    """By those who are ahead, what is missing of the model, and the speed measured so far.

    What was read of the prompt before is taken to be in the prefix cache, if the engine has one.
    """
    stats, queue_s = slot.stats, 0.0
    if stats.num_requests:
        queue_s = stats.request_s * slot.schedule.num_ahead(ticket) / max_rows
    load_s = 0.0 if slot.engine is not None else slot.load_s or slot.model.load_s
    if load_s and slot.load is not None:
        load_s *= 1 - slot.load.progress.fraction
    num_unread, keeps = len(prompt.tokens), slot.engine and slot.engine.cache.last.budget_bytes
    if keeps and prompt.spliced is not None:
        num_unread = max(1, num_unread - prompt.spliced.reused_tokens)  # the last is always read
    prefill_s = num_unread / stats.prefilled_per_s if stats.prefilled_per_s else None
    return FirstToken(queue_s, load_s, prefill_s)


def refuse_too_slow(expected: FirstToken, max_ttft_s: float | None) -> None:
    """Raises TooSlow where what is known forbids the first token in time.

    So the first requests of a model are never refused.
    """
    if max_ttft_s is not None and expected.known_s > max_ttft_s:
        raise TooSlow(expected.known_s, max_ttft_s)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What answering a request would take. In bytes, where nothing else is said."""

    prompt_tokens: int
    max_tokens: int  # that an answer may have
    reserved_tokens: int  # of prompt and answer, that room is kept for
    context_length: int
    is_loaded: bool
    prediction: Prediction  # of the model with these rows alone
    needed: int  # beside what is loaded and runs
    needed_alone: int  # with all rows over
    available: int
    drained: int  # with all rows over, and all idle models unloaded
    first_token: FirstToken

    @property
    def fits_now(self) -> bool:
        return self.needed <= self.available

    @property
    def fits_when_drained(self) -> bool:
        return self.needed_alone <= self.drained


def estimate(
    budget: Budget,
    slot: Slot,
    request: GenerationRequest,
    prompt: Tokens,
    max_tokens: int,
    context_length: int,
    max_rows: int,
) -> Estimate:
    """Of a slot that was measured. `max_tokens` are what the context leaves of those asked for."""
    assert slot.memory is not None
    prompt_tokens = len(prompt.tokens)
    num_tokens = reserved_tokens(prompt_tokens, request.sampling.max_tokens, max_tokens)
    lengths = [num_tokens] * request.num_answers
    last = Ticket(1 << 62, request.priority, takes_row=True, on_position=lambda _: None)
    return Estimate(
        prompt_tokens,
        max_tokens,
        num_tokens,
        context_length,
        is_loaded=slot.engine is not None,
        prediction=predict(slot.memory, lengths),
        needed=rows_need(slot, lengths, running_lengths(slot)) + _load_bytes(slot),
        needed_alone=needed_alone(slot, lengths),
        available=budget.available_bytes() + cached_bytes(slot),
        drained=budget.drained_bytes(slot),
        first_token=first_token(slot, last, prompt, max_rows),
    )
