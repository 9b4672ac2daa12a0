"""`truncation: auto`: the oldest of a conversation is left out until it fits the context."""

import msgspec

from registry.checkpoint.model import Model
from runtime.context import context_length_of, is_hopeless
from runtime.pool import ModelPool
from runtime.requests import ChatInput, ChatMessage


async def truncated(
    pool: ModelPool, model: Model, input: ChatInput, wanted_tokens: int | None
) -> ChatInput:
    """The same, or its end behind what the system says. A call and its results go together.

    Of the context a quarter at most is kept free for the answer. What is still too long is refused
    as ever, later.
    """
    context = context_length_of(model)
    room = context - min(wanted_tokens or 1024, context // 4)
    head, units = _units(input.messages)

    def without(num_units: int) -> ChatInput:
        rest = (message for unit in units[num_units:] for message in unit)
        return msgspec.structs.replace(input, messages=(*head, *rest))

    async def fits(num_units: int) -> bool:
        shorter = without(num_units)
        if is_hopeless(shorter, context):
            return False
        return len(await pool.tokenize(model, shorter)) <= room

    if len(units) < 2 or await fits(0):
        return input
    least, most = 1, len(units) - 1
    while least < most:
        middle = (least + most) // 2
        if await fits(middle):
            most = middle
        else:
            least = middle + 1
    return without(most)


def _units(
    messages: tuple[ChatMessage, ...],
) -> tuple[list[ChatMessage], list[list[ChatMessage]]]:
    """What the system says at the beginning; and what may be left out, one by one."""
    num_head = next((n for n, m in enumerate(messages) if m.role != "system"), len(messages))
    units: list[list[ChatMessage]] = []
    for message in messages[num_head:]:
        if message.role == "tool" and units:
            units[-1].append(message)
        else:
            units.append([message])
    return list(messages[:num_head]), units
