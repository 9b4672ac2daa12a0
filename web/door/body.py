"""A request's JSON body: counted as it arrives, bounded in time, decoded strictly."""

import asyncio
import re
from typing import ClassVar, TypeAlias, TypeVar

import msgspec
from quart import Request
from werkzeug.http import parse_options_header

from registry.checkpoint.config import Json
from web.errors import ApiError
from web.settings import WebSettings

T = TypeVar("T")
# For each parameter, the values at which it asks for nothing.
Neutral: TypeAlias = dict[str, tuple[Json, ...]]
# Other names of fields.
Synonyms: TypeAlias = dict[str, str]

_PATH = re.compile(r" - at `(?:key in )?\$(.*)`$")
_WANTS_INTEGER = re.compile(r"Expected `[^`]*\bint\b[^`]*`, got `float`")

_encode = msgspec.msgpack.Encoder().encode


class RequestBody(msgspec.Struct):
    """A body with parameters that are known, but cannot be honoured; and some of several names."""

    unhonoured: ClassVar[Neutral] = {}
    synonyms: ClassVar[Synonyms] = {}


async def read_json(request: Request, settings: WebSettings, shape: type[T]) -> T:
    """The body as `shape`. Raises ApiError with 400, 408, 413 or 415."""
    check_identity(request)
    media_type, options = parse_options_header(request.headers.get("Content-Type"))
    is_utf8 = options.get("charset", "utf-8").lower() in ("utf-8", "utf8")
    if media_type.lower() != "application/json" or not is_utf8:
        raise ApiError(415, "Send the body as UTF-8 JSON, with Content-Type: application/json.")
    return decode(await _read(request, settings), shape)


def check_identity(request: Request) -> None:
    """Raises ApiError 415 for a body that is compressed (RFC 9110, 15.5.16)."""
    encodings = request.headers.get("Content-Encoding", "").split(",")
    named = [name for name in map(str.strip, encodings) if name.lower() not in ("", "identity")]
    if named:
        raise ApiError(
            415,
            f"The body has Content-Encoding: {', '.join(named)[:100]}, which is not read here; "
            "send it uncompressed.",
            code="unsupported_content_encoding",
            headers={"Accept-Encoding": "identity"},
        )


async def _read(request: Request, settings: WebSettings) -> bytes:
    body = bytearray()
    limit = settings.max_body_bytes
    too_large = ApiError(413, f"The body is larger than {limit} bytes.", code="body_too_large")
    if (request.content_length or 0) > limit:
        raise too_large
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            async for piece in request.body:
                body += piece
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise ApiError(408, f"The body took longer than {settings.body_timeout_s:g} s.") from None
    return bytes(body)


def decode(body: bytes, shape: type[T]) -> T:
    """Strict JSON of a given shape. Raises ApiError that names the field."""
    try:
        # msgspec skips over what it does not need; this looks at every byte.
        body.decode("utf-8")
        if issubclass(shape, RequestBody):
            body = _renamed(body, shape.synonyms)
        value = _decode(body, shape)
        if issubclass(shape, RequestBody):
            _refuse_unhonoured(body, shape.unhonoured)
    except msgspec.ValidationError as error:
        message = str(error)
        param = _top_field(message) or _missing_field(message)
        raise ApiError(400, f"{message}.", param=param, code="invalid_value") from None
    except (ValueError, RecursionError) as error:  # msgspec.DecodeError is a ValueError
        raise ApiError(400, f"The body is not valid JSON: {error}", code="invalid_json") from None
    _check_carried(value)
    return value


def _decode(body: bytes, shape: type[T]) -> T:
    """JSON of a shape, where 4.0 is an integer too, as in JSON Schema (2020-12 core, 4.2.2)."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        failure = error
    if _WANTS_INTEGER.match(str(failure)) is None:
        raise failure
    value = msgspec.json.decode(body)
    tried: set[str] = set()  # top fields; in others 4.0 stays what it is
    while _WANTS_INTEGER.match(str(failure)) and isinstance(value, dict):
        field = _top_field(str(failure))
        if field is None or field in tried:
            break
        tried.add(field)
        value[field] = _with_integers(value[field])
        try:
            return msgspec.convert(value, shape)
        except msgspec.ValidationError as error:
            failure = error
    raise failure


def _with_integers(value: Json) -> Json:
    match value:
        case float():
            return int(value) if value.is_integer() and abs(value) < 2**63 else value
        case list():
            return [_with_integers(item) for item in value]
        case dict():
            return {name: _with_integers(item) for name, item in value.items()}
    return value


def _renamed(body: bytes, synonyms: Synonyms) -> bytes:
    """The body with each field under the name that it has here."""
    if not any(f'"{name}"'.encode() in body for name in synonyms):
        return body
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name, own in synonyms.items():
        if name not in fields:
            continue
        if own in fields:
            raise ApiError(
                400, f"'{name}' is another name of '{own}'. Send one of the two.", param=name
            )
        fields[own] = fields.pop(name)
    return msgspec.json.encode(fields)


def _refuse_unhonoured(body: bytes, unhonoured: Neutral) -> None:
    for name, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items():
        if (neutral := unhonoured.get(name)) is None:
            continue
        value = msgspec.json.decode(raw)
        if value is None or value in neutral:
            continue
        instead = f", or send {msgspec.json.encode(neutral[0]).decode()}" if neutral else ""
        raise ApiError(
            400,
            f"'{name}' cannot be honoured by this server yet, and is never silently ignored. "
            f"Leave it out{instead}.",
            param=name,
            code="unsupported_parameter",
        )


def _check_carried(value: object) -> None:
    """Raises ApiError for a number that no message to another process could carry."""
    if not isinstance(value, msgspec.Struct):
        return
    fields = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
    for attribute, name in fields:
        try:
            _encode(getattr(value, attribute))
        except OverflowError:
            raise ApiError(
                400,
                f"'{name}' holds an integer of more than 64 bits; send one between -2^63 and "
                "2^64-1, or a string.",
                param=name,
            ) from None
        except RecursionError:
            raise ApiError(400, f"'{name}' is nested too deeply.", param=name) from None


def _top_field(message: str) -> str | None:
    path = match[1].lstrip(".") if (match := _PATH.search(message)) else ""
    return path.split("[")[0].split(".")[0] or None


def _missing_field(message: str) -> str | None:
    match = re.search(r"required field `(\w+)`", message)
    return match[1] if match else None
