"""A request's JSON body: counted as it arrives, bounded in time, decoded strictly."""

import asyncio
import re
from typing import TypeVar

import msgspec
from quart import Request
from werkzeug.http import parse_options_header

from web.errors import ApiError
from web.settings import WebSettings

T = TypeVar("T")

_PATH = re.compile(r" - at `(?:key in )?\$(.*)`$")


async def read_json(request: Request, settings: WebSettings, shape: type[T]) -> T:
    """The body as `shape`. Raises ApiError with 400, 408, 413 or 415."""
    media_type, options = parse_options_header(request.headers.get("Content-Type"))
    is_utf8 = options.get("charset", "utf-8").lower() in ("utf-8", "utf8")
    if media_type.lower() != "application/json" or not is_utf8:
        raise ApiError(415, "Send the body as UTF-8 JSON, with Content-Type: application/json.")
    return decode(await _read(request, settings), shape)


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
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        message = str(error)
        path = match[1].lstrip(".") if (match := _PATH.search(message)) else ""
        param = path.split("[")[0].split(".")[0] or _missing_field(message)
        raise ApiError(400, f"{message}.", param=param, code="invalid_value") from None
    except (ValueError, RecursionError) as error:  # msgspec.DecodeError is a ValueError
        raise ApiError(400, f"The body is not valid JSON: {error}", code="invalid_json") from None


def _missing_field(message: str) -> str | None:
    match = re.search(r"required field `(\w+)`", message)
    return match[1] if match else None
