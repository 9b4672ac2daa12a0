"""POST /embeddings: texts, or token ids, as vectors; OpenAI's shape, and two fields of ours.

`prompt` is set before every text: a prefix such as "search_query: ", or the name of a prompt that
the model brings in config_sentence_transformers.json, such as "query". Many retrieval models ask
for one, and answer worse without: nomic-embed-text wants "search_query: " before questions and
"search_document: " before what is searched. Token ids stand as they are, without a prompt, and with
[CLS] and [SEP] or what else the model is used to among them.

`truncate: true` reads the beginning of an input that is longer than the model can read, which is
else refused with both numbers.
"""

import asyncio
import base64
import sys
from array import array
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta
from quart import Blueprint, Response, request

from runtime.requests import EmbeddingRequest, Embeddings, Priority
from web.dialect import Dialect
from web.door.body import Neutral, RequestBody, read_json
from web.errors import ApiError
from web.services import Services
from web.serving import servable

from . import encoder_parameters
from .scheduling import keep_alive_s, priority_of

MAX_INPUTS = 2048
_ON_LOOP_BYTES = 64 << 10  # of vectors that are written within a millisecond or two

_encode = msgspec.json.Encoder().encode


class EmbeddingsBody(RequestBody):
    """POST /embeddings. Fields that are neither listed nor unhonoured are ignored."""

    unhonoured: ClassVar[Neutral] = encoder_parameters.EMBEDDINGS

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    user: str | None = None  # accepted: it changes nothing about the answer
    prompt: Annotated[str, Meta(max_length=4096)] | None = None
    truncate: bool | None = None
    keep_alive: float | str | None = None
    priority: Priority | None = None


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """The route of one dialect."""
    routes = Blueprint(f"{dialect.name}-embeddings", __name__, url_prefix=dialect.base)

    @routes.post("/embeddings")
    async def create_embeddings() -> Response:
        body = await read_json(request, services.settings, EmbeddingsBody)
        body.priority = priority_of(body.priority, request.headers)
        asked = embedding_request(body)
        model = servable(services.store, body.model, "embeddings")
        made = await services.pool.embed(model, asked)
        write = _base64 if body.encoding_format == "base64" else _floats
        if len(made.vectors) <= _ON_LOOP_BYTES:
            content = answer(made, model.id, write)
        else:  # nobody else's stream waits for it
            content = await asyncio.to_thread(answer, made, model.id, write)
        return Response(content, content_type="application/json")

    return routes


def embedding_request(body: EmbeddingsBody) -> EmbeddingRequest:
    """The request as the runtime takes it. Raises ApiError that names what is wrong."""
    return EmbeddingRequest(
        inputs=_inputs(body.input),
        prompt=body.prompt or None,
        dimensions=body.dimensions,
        truncate=bool(body.truncate),
        keep_alive_s=keep_alive_s(body.keep_alive),
        priority=body.priority or "interactive",
    )


def _inputs(value: str | list[str | int | list[int]]) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str):
        value = [value]
    if not value:
        raise _refused("'input' is an empty list. Send at least one text.")
    if isinstance(value[0], int):
        value = [[_token(item) for item in value]]
    if len(value) > MAX_INPUTS:
        raise _refused(
            f"'input' has {len(value)} inputs, and one request may have {MAX_INPUTS}. Send more "
            "requests."
        )
    kind = type(value[0])
    return tuple(_input(number, item, kind) for number, item in enumerate(value))


def _input(number: int, item: str | int | list[int], kind: type) -> str | tuple[int, ...]:
    if isinstance(item, int) or type(item) is not kind:
        raise _refused("'input' mixes texts and token ids. Send a list of one of them.")
    if not item:
        what = "an empty text" if isinstance(item, str) else "an empty list of token ids"
        raise _refused(f"'input' has {what} at {number}, of which there is no embedding.")
    return item if isinstance(item, str) else tuple(map(_token, item))


def _token(item: object) -> int:
    if not isinstance(item, int):
        raise _refused("'input' mixes texts and token ids. Send a list of one of them.")
    if not 0 <= item < 2**31:
        raise _refused(f"'input' has {item}, which is no token id.")
    return item


def _refused(message: str) -> ApiError:
    return ApiError(400, message, param="input")


def answer(made: Embeddings, model_id: str, write: Callable[[memoryview], bytes]) -> bytes:
    """The body of the reply, a vector at a time: msgspec writes two million numbers in 0.2 s."""
    size = 4 * made.num_dimensions
    rows = memoryview(made.vectors)
    items = [
        b'{"object":"embedding","index":%d,"embedding":%b}'
        % (index, write(rows[size * index : size * (index + 1)]))
        for index in range(len(rows) // size)
    ]
    usage = {"prompt_tokens": made.prompt_tokens, "total_tokens": made.prompt_tokens}
    tail = _encode({"model": model_id, "usage": usage})[1:]
    return b'{"object":"list","data":[' + b",".join(items) + b"]," + tail


def _floats(row: memoryview) -> bytes:
    values = array("f")
    values.frombytes(row)
    if sys.byteorder == "big":
        values.byteswap()
    return _encode(values.tolist())


def _base64(row: memoryview) -> bytes:
    """As the SDKs ask for it by default: float32, little-endian."""
    return b'"' + base64.b64encode(row) + b'"'
