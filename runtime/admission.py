"""What a request can count on before it runs: that there is memory for it, and how soon it starts.

Asked by `pool` at the door, and by `estimates` for whoever only wants to know.
"""

import math
from dataclasses import dataclass

from .budget import Budget, rows_need
from .errors import QueueFull, RequestTooLarge, TooSlow
from .requests import Priority
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


def refuse_too_many(
    slot: Slot, priority: Priority, num_more: int, max_queue: int, max_rows: int
) -> None:
    """Raises QueueFull where there are no places for so many more."""
    if slot.schedule.is_full(priority, num_more):
        wait_s = slot.stats.request_s * max_queue / max_rows
        raise QueueFull(
            f"{max_queue} {priority} requests already wait for '{slot.model.id}'; "
            "send fewer at once, or try again later.",
            retry_after_s=min(60, max(1, math.ceil(wait_s))),
        )


def refuse_too_large(budget: Budget, slot: Slot, num_tokens: int) -> None:
    """Raises RequestTooLarge for a row that would not fit if all others were over.

    Of a model whose needs are not known, nothing is refused.
    """
    needed = needed_alone(slot, [num_tokens])
    if needed and needed > (drained := budget.drained_bytes(slot)):
        raise RequestTooLarge(num_tokens, needed, budget.available_bytes(), drained)


def needed_alone(slot: Slot, lengths: list[int]) -> int:
    """What rows take with nobody beside them, and their model where that is not loaded."""
    return rows_need(slot, lengths) + load_bytes(slot)


def load_bytes(slot: Slot) -> int:
    """What the model itself takes where it is neither in memory nor on its way there."""
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
