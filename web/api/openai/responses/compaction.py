"""POST /responses/compact: a conversation made short by the model itself.

What people said stays as it is; all else becomes one item, in which the model tells what matters.
"""

import secrets
import time

import msgspec
from werkzeug.datastructures import Headers

from registry.checkpoint.config import Json
from runtime.context import context_length_of
from runtime.requests import ChatInput, ChatMessage
from web.api.answer import Answer
from web.api.thinking import thinking_options
from web.errors import ApiError
from web.services import Services

from .body import CacheOptions, CountBody
from .history import History
from .items import Item, new_id
from .request import Conversation, conversation_of
from .response_object import usage_of
from .sealed_text import sealed
from .truncation import truncated

_ASKED = (
    "Summarize our conversation so far, so that you can go on from your summary alone. Tell what "
    "was asked, what was found out and decided, which files, names and numbers matter, what is "
    "done and what is still to do. Write nothing but the summary."
)
_MAX_TOKENS = 2048


class CompactBody(CountBody, kw_only=True):
    """What is to be made short; with the names of a response's body."""

    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptions | None = None

    def check(self) -> None:
        super().check()
        if self.stream:
            raise ApiError(400, "A compaction comes as a whole.", param="stream")


async def compacted(
    services: Services, body: CompactBody, headers: Headers, history: History
) -> dict[str, Json]:
    """Input for the next request. Raises what asking the model does, and ApiError."""
    conversation = await conversation_of(services, body, history)
    if not conversation.input.messages:
        raise ApiError(400, "There is nothing to compact: 'input' says nothing.", param="input")
    answer = await _summary(services, body, headers, conversation)
    output = _said_by_people(conversation)
    summary = "".join(answer.text).strip()
    output.append(
        {"id": new_id("compaction"), "type": "compaction", "encrypted_content": sealed(summary)}
    )
    return {
        "id": f"cmpr_{secrets.token_hex(24)}",
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": list(output),
        "usage": usage_of(answer.usage),
    }


def _said_by_people(conversation: Conversation) -> list[Item]:
    """Their messages, as they are; the last ones, in about a quarter of the context."""
    room = context_length_of(conversation.model)  # in characters, of which a token has some four
    kept: list[Item] = []
    for item in reversed([*conversation.before.items, *conversation.said]):
        if item["type"] == "message" and item["role"] != "assistant":
            room -= sum(len(part["text"]) for part in item["content"])
            if room < 0 and kept:
                break
            kept.append(item)
    return kept[::-1]


def _num_said(input: ChatInput) -> int:
    return sum(message.role != "system" for message in input.messages)


async def _summary(
    services: Services, body: CompactBody, headers: Headers, conversation: Conversation
) -> Answer:
    """Asked behind the conversation as it is, so that what was read of it is not read again."""
    asked = ChatMessage("user", _ASKED)
    input = msgspec.structs.replace(
        conversation.input,
        messages=(*conversation.input.messages, asked),
        options=conversation.input.options | thinking_options(False, None),
        turn="new",
        tool_use=msgspec.structs.replace(conversation.input.tool_use, choice="none", name=None),
    )
    # What does not fit is what a conversation is compacted for.
    num_said = _num_said(input)
    input = await truncated(services.pool, conversation.model, input, _MAX_TOKENS)
    if _num_said(input) == 1 < num_said:  # the question alone
        raise ApiError(
            400, "The last message alone is too long for the model's context: there is nothing "
            "that could be made of it.",
            param="input", code="context_length_exceeded",
        )  # fmt: skip
    request = body.request(input, headers, max_tokens=_MAX_TOKENS)
    answer = Answer()
    async with await services.pool.begin(conversation.model, request) as generation:
        async for event in generation.follow():
            answer.add(event)
    return answer
