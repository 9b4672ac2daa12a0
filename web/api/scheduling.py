"""What any request may say of its turn and of its model: `priority`, `keep_alive`."""

import math

import msgspec
from werkzeug.datastructures import Headers

from runtime.requests import Priority
from web import duration
from web.errors import ApiError

_PRIORITY = "X-Priority"


def priority_of(field: Priority | None, headers: Headers) -> Priority:
    """The request's own; else that of X-Priority, for clients that cannot send fields."""
    if field is not None or (header := headers.get(_PRIORITY)) is None:
        return field or "interactive"
    try:
        priority: Priority = msgspec.convert(header, type=Priority)
        return priority
    except msgspec.ValidationError:
        raise ApiError(
            400, f"{_PRIORITY} is {header[:100]!r}; it may be 'interactive' or 'background'.",
            param=_PRIORITY,
        ) from None  # fmt: skip


def keep_alive_s(value: float | str | None) -> float | None:
    """Seconds, "5m" or "2h"; a negative number is for ever. None stays None."""
    if value is None:
        return None
    if not isinstance(value, str):
        return math.inf if value < 0 else float(value)
    try:
        return duration.seconds(value)
    except ValueError as error:
        raise ApiError(400, f"'keep_alive': {error}.", param="keep_alive") from None
