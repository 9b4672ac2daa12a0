"""What was said before a request: in responses that are stored, or by one connection."""

from dataclasses import dataclass, field

import msgspec

from web.archive.responses import MAX_CHAIN_BYTES, Archive, ChainTooLong, Item
from web.errors import ApiError

_MAX_RESPONSES = 1024  # of one connection


@dataclass(frozen=True, slots=True)
class Before:
    """The items of earlier responses, in order."""

    items: list[Item] = field(default_factory=list)
    stored_id: str | None = None  # the last of them, if all are stored
    held_id: str | None = None  # or held by the connection


@dataclass(slots=True)
class _Held:
    """A response of a connection: what it adds to the one before."""

    before: "_Held | None"
    own: list[Item]
    num_bytes: int  # of all that was said up to it
    num_next: int = 0
    is_open: bool = True  # may be gone on from

    def items(self) -> list[Item]:
        """All that was said up to and in it."""
        parts: list[list[Item]] = []
        link: _Held | None = self
        while link is not None:
            parts.append(link.own)
            link = link.before
        return [item for part in reversed(parts) for item in part]


class ConnectionMemory:
    """Responses of one connection that were not to be stored: they end with it.

    As in the archive, what nothing goes on from makes room first.
    """

    def __init__(self, limit_bytes: int = MAX_CHAIN_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._held: dict[str, _Held] = {}
        self._num_bytes = 0

    def items(self, response_id: str) -> list[Item] | None:
        """All that was said up to and in a response."""
        held = self._held.get(response_id)
        return held.items() if held is not None and held.is_open else None

    def keep(self, response_id: str, before: Before, own: list[Item]) -> None:
        """One more, with what it goes on from; unless that alone is beyond the limit."""
        link = None if before.held_id is None else self._held.get(before.held_id)
        if link is None:
            own = [*before.items, *own]
        num_own = len(msgspec.json.encode(own))
        held = _Held(link, own, num_own + (link.num_bytes if link is not None else 0))
        if held.num_bytes > self._limit_bytes:
            return
        if link is not None:
            link.num_next += 1
        self._held[response_id] = held
        self._num_bytes += num_own
        while self._num_bytes > self._limit_bytes or len(self._held) > _MAX_RESPONSES:
            ends = (name for name, other in self._held.items() if not other.num_next)
            oldest = next(ends)
            if oldest == response_id:  # all others are what this one goes on from
                break
            self._drop(oldest)

    def referred(self, item_ids: set[str]) -> dict[str, Item]:
        """The items of these ids that it holds."""
        own = (item for held in self._held.values() for item in held.own)
        return {item["id"]: item for item in own if item["id"] in item_ids} if item_ids else {}

    def evict(self, response_id: str) -> None:
        """Nobody can go on from it any more; those that do already are as they were."""
        held = self._held.get(response_id)
        if held is not None:
            held.is_open = False
            if not held.num_next:
                self._drop(response_id)

    def _drop(self, response_id: str) -> None:
        held = self._held.pop(response_id)
        num_before = 0
        if held.before is not None:
            held.before.num_next -= 1
            num_before = held.before.num_bytes
        self._num_bytes -= held.num_bytes - num_before


class History:
    """What a request may go on from."""

    def __init__(self, archive: Archive, memory: ConnectionMemory | None = None) -> None:
        """`memory` is the request's connection's, on a socket."""
        self._archive = archive
        self._memory = memory

    async def before(self, response_id: str | None) -> Before:
        """All that was said up to and in a response. Raises ApiError where that is not known."""
        if response_id is None:
            return Before()
        own = self._memory.items(response_id) if self._memory is not None else None
        if own is not None:
            return Before(own, held_id=response_id)
        try:
            items = await self._archive.chain(response_id)
        except ChainTooLong:
            raise ApiError(
                400, f"What was said up to {response_id[:100]!r} is more than can be gone on "
                "from: compact it, or begin anew.",
                param="previous_response_id", code="context_length_exceeded",
            ) from None  # fmt: skip
        if items is None:
            raise ApiError(
                400, f"Previous response with id {response_id[:100]!r} not found: it was not "
                "stored, is still under way, failed, or something that it goes on from is gone.",
                param="previous_response_id", code="previous_response_not_found",
            )  # fmt: skip
        return Before(items, stored_id=response_id)

    async def referred(self, item_ids: set[str], before: Before) -> dict[str, Item]:
        """The items of these ids, as far as they are known: first those of this conversation."""
        near = {item["id"]: item for item in before.items if item["id"] in item_ids}
        if self._memory is not None:
            near = self._memory.referred(item_ids) | near
        far = item_ids - near.keys()
        return near | (await self._archive.referred(far) if far else {})
