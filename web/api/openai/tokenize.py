"""POST /tokenize and /detokenize, as vLLM and llama.cpp have them: what a model reads of a text.

At the root and below /v1. A conversation is read as a chat's would be; no model is loaded for it.
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta
from quart import Blueprint, Response, request

from registry.checkpoint.config import Json
from runtime.requests import Input, TextInput
from web.api.generating import TokenId
from web.door.body import Neutral, read_json
from web.errors import ApiError
from web.services import Services
from web.serving import servable
from web.transport.reply import json_reply

from .chat_body import ChatBody, generation_request
from .chat_messages import Message

Text = Annotated[str, Meta(max_length=16 << 20)]


class TokenizeBody(ChatBody, kw_only=True):
    """A text, by vLLM's name or llama.cpp's; or the body of a chat."""

    unhonoured: ClassVar[Neutral] = {}

    prompt: Text | None = None
    content: Text | None = None
    messages: Annotated[list[Message], Meta(max_length=4096)] = []
    add_special_tokens: bool | None = None
    add_special: bool | None = None
    return_token_strs: bool | None = None
    with_pieces: bool | None = None

    def input(self) -> Input:
        """Raises ApiError where there is no text, or more than one."""
        texts = [text for text in (self.prompt, self.content) if text is not None]
        if len(texts) + bool(self.messages) != 1:
            raise ApiError(400, "Send one of 'prompt', 'content' and 'messages'.", param="prompt")
        if self.messages:
            return generation_request(self, request.headers).input
        return TextInput(texts[0], adds_special=self._adds_special)

    @property
    def _adds_special(self) -> bool:
        """As each of both does where it is not said."""
        if self.prompt is not None:
            return self.add_special_tokens is not False
        return bool(self.add_special)


class DetokenizeBody(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1, max_length=512)]
    tokens: list[TokenId]


def blueprint(services: Services) -> Blueprint:
    """The routes."""
    routes = Blueprint("tokenize", __name__)

    @routes.post("/tokenize")
    @routes.post("/v1/tokenize")
    async def tokenize() -> Response:
        body = await read_json(request, services.settings, TokenizeBody)
        model = servable(services.store, body.model, "chat" if body.messages else "completions")
        tokens = await services.pool.tokenize(model, body.input())

        async def words() -> list[str]:
            return (await services.pool.detokenize(model, tuple(tokens))).words

        reply: dict[str, Json] = {"count": len(tokens), "max_model_len": model.context_length}
        if body.with_pieces:
            told = zip(tokens, await words(), strict=True)
            return json_reply(reply | {"tokens": [{"id": i, "piece": piece} for i, piece in told]})
        reply["tokens"] = list(tokens)
        if body.return_token_strs:
            reply |= {"token_strs": list(await words())}
        return json_reply(reply)

    @routes.post("/detokenize")
    @routes.post("/v1/detokenize")
    async def detokenize() -> Response:
        body = await read_json(request, services.settings, DetokenizeBody)
        model = servable(services.store, body.model, "completions")
        text = (await services.pool.detokenize(model, tuple(body.tokens))).text
        return json_reply({"prompt": text, "content": text})

    return routes
