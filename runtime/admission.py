"""What a request can count on before it runs: that there is memory for it, and how soon it starts.

Asked by `pool` at the door, and by whoever only wants to know.
"""

from dataclasses import dataclass

from .budget import Budget, row_needs
from .errors import RequestTooLarge, TooSlow
from .slot import Slot
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
    needed = needed_alone(slot, num_tokens)
    if needed and needed > (drained := budget.drained_bytes(slot)):
        raise RequestTooLarge(num_tokens, needed, budget.available_bytes(), drained)


def needed_alone(slot: Slot, num_tokens: int) -> int:
    """What a row takes with nobody beside it, and its model where that is not loaded."""
    needed = row_needs(slot, num_tokens)
    if slot.memory is not None and slot.engine is None and slot.load is None:
        needed += slot.memory.weight_bytes + slot.memory.process_bytes
    return needed


@dataclass(frozen=True, slots=True)
class FirstToken:
    """When the first token is expected, in seconds; what is not known counts as nothing."""

    queue_s: float
    load_s: float
    prefill_s: float

    @property
    def total_s(self) -> float:
        return self.queue_s + self.load_s + self.prefill_s


def first_token(slot: Slot, ticket: Ticket, num_tokens: int, max_rows: int) -> FirstToken:
    """By those who are ahead, what is missing of the model, and the speed measured so far."""
    stats = slot.stats
    queue_s = load_s = prefill_s = 0.0
    if stats.num_requests:
        queue_s = stats.request_s * slot.schedule.num_ahead(ticket) / max_rows
    if slot.load_s is not None and slot.engine is None:
        load_s = slot.load_s * (1 - slot.load.progress.fraction if slot.load else 1)
    if stats.prefilled_per_s:
        prefill_s = num_tokens / stats.prefilled_per_s
    return FirstToken(queue_s, load_s, prefill_s)


def refuse_too_slow(expected: FirstToken, max_ttft_s: float | None) -> None:
    """Raises TooSlow where what is known forbids the first token in time.

    So the first requests of a model are never refused.
    """
    if max_ttft_s is not None and expected.total_s > max_ttft_s:
        raise TooSlow(expected.total_s, max_ttft_s)
