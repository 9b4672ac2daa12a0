"""Compact JSON responses."""

from quart import Response

from registry.checkpoint.config import Json
from web.dialect import Dialect
from web.errors import Failure

from .encoding import encode


def json_reply(
    value: dict[str, Json], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """No space after a colon or comma: shell scripts look for `"readyToUse":true`."""
    return Response(encode(value), status, headers, content_type="application/json")


def failure_reply(failure: Failure, dialect: Dialect) -> Response:
    """An error in the dialect's shape."""
    return json_reply(failure.body(dialect), failure.status, failure.headers)
