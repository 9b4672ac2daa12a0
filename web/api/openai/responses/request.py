"""A Responses request, read: what is asked of which model, and what it goes on from."""

from dataclasses import dataclass

from werkzeug.datastructures import Headers

from registry.checkpoint.model import Model
from runtime.requests import ChatInput, GenerationRequest
from web.errors import ApiError
from web.services import Services
from web.serving import servable

from .body import CountBody, ResponseBody
from .history import Before, History
from .items import Item, normal, references
from .response_object import ResponseObject
from .tools import Tools
from .truncation import truncated
from .turns import turns_of


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a model is asked to go on from."""

    model: Model
    before: Before
    said: list[Item]  # by this request
    tools: Tools
    input: ChatInput


@dataclass(frozen=True, slots=True)
class Request:
    """To be answered."""

    body: ResponseBody
    conversation: Conversation
    asked: GenerationRequest | None  # None: nothing is said, so there is nothing to be read
    response: ResponseObject


async def conversation_of(services: Services, body: CountBody, history: History) -> Conversation:
    """Raises ApiError that names what is wrong."""
    body.check()
    model = servable(services.store, body.model)
    tools = body.asked_tools()
    before = await history.before(body.previous_response_id)
    sent = body.input if body.input is not None else []
    said = normal(sent, await history.referred(references(sent), before))
    turns = turns_of([*before.items, *said], body.instructions, len(before.items))
    input = body.chat(turns, tools)
    if body.truncation == "auto":
        input = await truncated(services.pool, model, input, body.wanted_tokens)
    return Conversation(model, before, said, tools, input)


async def read(
    services: Services, body: ResponseBody, headers: Headers, history: History
) -> Request:
    """A request to be answered. Raises ApiError that names what is wrong."""
    stores = body.store if body.store is not None else services.archive.is_on
    if stores and not services.archive.is_on:
        raise ApiError(
            400, "'store' cannot be honoured: this server was told to store no responses.",
            param="store", code="unsupported_parameter",
        )  # fmt: skip
    if body.background and not stores:
        raise ApiError(
            400, "'background' needs 'store': its response is asked for later.", param="background"
        )  # fmt: skip
    conversation = await conversation_of(services, body, history)
    asked = None
    if conversation.input.messages:
        asked = body.generation(conversation.input, headers)
    elif body.generate is not False:
        raise ApiError(400, "'input' says nothing.", param="input")
    response = ResponseObject(body, conversation.model, conversation.tools, stores=stores)
    return Request(body, conversation, asked, response)
