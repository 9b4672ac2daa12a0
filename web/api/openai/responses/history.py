"""What was said before a request: in responses that are stored, or by one connection."""

from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from web.archive import Archive, Item
from web.errors import ApiError

_MAX_BYTES = 32 << 20  # of what is said on one connection, and not stored
_MAX_RESPONSES = 1024


@dataclass(frozen=True, slots=True)
class Before:
    """The items of earlier responses, in order."""

    items: list[Item]
    is_stored: bool  # so that a response which goes on from it need not keep them


NOTHING = Before([], is_stored=True)


class ConnectionMemory:
    """Responses of one connection that were not to be stored: they end with it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[list[Item], int]] = OrderedDict()
        self._num_bytes = 0

    def items(self, response_id: str) -> list[Item] | None:
        """All that was said up to and in a response."""
        if response_id not in self._kept:
            return None
        self._kept.move_to_end(response_id)
        return self._kept[response_id][0]

    def keep(self, response_id: str, before: list[Item], own: list[Item]) -> None:
        """The oldest make room for it."""
        num_bytes = len(msgspec.json.encode(own))
        self._kept[response_id] = ([*before, *own], num_bytes)
        self._num_bytes += num_bytes
        while self._num_bytes > _MAX_BYTES or len(self._kept) > _MAX_RESPONSES:
            self.evict(next(iter(self._kept)))

    def evict(self, response_id: str) -> None:
        """Nobody can go on from it any more."""
        _, num_bytes = self._kept.pop(response_id, (None, 0))
        self._num_bytes -= num_bytes


class History:
    """What a request may go on from."""

    def __init__(self, archive: Archive, memory: ConnectionMemory | None = None) -> None:
        """`memory` is the request's connection's, on a socket."""
        self._archive = archive
        self._memory = memory

    async def before(self, response_id: str | None) -> Before:
        """All that was said up to and in a response. Raises ApiError where that is not known."""
        if response_id is None:
            return NOTHING
        own = self._memory.items(response_id) if self._memory is not None else None
        if own is not None:
            return Before(own, is_stored=False)
        items = await self._archive.chain(response_id)
        if items is None:
            raise ApiError(
                400, f"Previous response with id {response_id[:100]!r} not found: it was not "
                "stored, is still under way, failed, or something that it goes on from is gone.",
                param="previous_response_id", code="previous_response_not_found",
            )  # fmt: skip
        return Before(items, is_stored=True)

    async def referred(self, item_ids: list[str]) -> dict[str, Item]:
        """The items of these ids, as far as they are known."""
        return await self._archive.referred(item_ids) if item_ids else {}
