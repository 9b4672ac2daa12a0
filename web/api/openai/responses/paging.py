"""Lists in pages, as their queries ask."""

from typing import Literal

from quart import Request

from registry.checkpoint.config import Json
from web.errors import ApiError

from .items import Item
from .query import number_in

_MAX_LISTED = 100


def page(items: list[Item], request: Request) -> dict[str, Json]:
    """`limit` items behind `after`, the last first unless `order` says `asc`. Raises ApiError."""
    listed = items if _order(request) == "asc" else items[::-1]
    if (after := request.args.get("after")) is not None:
        places = [place for place, item in enumerate(listed) if item["id"] == after]
        if not places:
            raise ApiError(400, f"There is no item {after[:100]!r} here.", param="after")
        listed = listed[places[0] + 1 :]
    limit = number_in(request, "limit", 20, 1, _MAX_LISTED)
    shown = listed[:limit]
    return {
        "object": "list",
        "data": list(shown),
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(listed) > limit,
    }


def _order(request: Request) -> Literal["asc", "desc"]:
    match request.args.get("order", "desc"):
        case "asc":
            return "asc"
        case "desc":
            return "desc"
        case other:
            what = f"'order' is {other[:100]!r}; it may be asc or desc."
            raise ApiError(400, what, param="order")
