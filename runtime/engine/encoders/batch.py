"""The inputs of all requests that have come, and which of them are read in the next pass."""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from runtime.engine_messages import Embed

# An input may share a pass with a longer one of which it has at least this share of the tokens.
_MIN_FILL = 0.75
_FREE_PADDING = 16  # tokens of padding that are allowed in any case
_OLDEST_PACKS = 4  # of so many one is the oldest request's, whoever else waits


@dataclass(eq=False, slots=True)
class Request:
    """One `Embed`, until all of its inputs are done."""

    id: int
    vectors: list[bytes]  # empty where an input is not done yet
    num_left: int
    is_urgent: bool
    longest_last: list["Input"] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Input:
    """One row of a pass to come."""

    request: Request
    index: int  # among the request's inputs
    tokens: Sequence[int]
    num_first: int  # tokens of a pair's first half; 0: no pair
    dimensions: int | None
    order: tuple[int, int]  # by length; of equal ones, the oldest comes last
    is_taken: bool = False


class EncodeBatch:
    """Inputs sorted by length. Each pass serves the oldest interactive request first.

    Every fourth serves the oldest of all, so that no background request starves.
    """

    def __init__(self) -> None:
        self._requests: dict[int, Request] = {}  # the oldest first
        self._waiting: list[Input] = []  # by `order`
        self._num_inputs = 0
        self._num_packs = 0

    @property
    def num_requests(self) -> int:
        return len(self._requests)

    def add(self, command: Embed) -> None:
        """Take in the inputs of a request; there is at least one."""
        num_inputs, is_urgent = len(command.inputs), command.priority == "interactive"
        request = Request(command.id, [b""] * num_inputs, num_inputs, is_urgent)
        firsts = command.first_lengths or [0] * len(command.inputs)
        for index, (tokens, num_first) in enumerate(zip(command.inputs, firsts, strict=True)):
            self._num_inputs += 1
            order = (len(tokens), -self._num_inputs)
            entry = Input(request, index, tokens, num_first, command.dimensions, order)
            request.longest_last.append(entry)
        request.longest_last.sort(key=_order)
        self._requests[request.id] = request
        if len(request.longest_last) < 8:
            for entry in request.longest_last:
                insort(self._waiting, entry, key=_order)
        else:
            self._waiting = sorted(self._waiting + request.longest_last, key=_order)

    def remove(self, request_id: int) -> bool:
        """Forget a request and what is left of its inputs."""
        request = self._requests.pop(request_id, None)
        if request is not None:
            self._waiting = [entry for entry in self._waiting if entry.request is not request]
        return request is not None

    def holds(self, request: Request) -> bool:
        return self._requests.get(request.id) is request

    def next_pack(self, budget: int) -> list[Input]:
        """The longest input of the request that is next, and others of about its length.

        At most `budget` tokens, padding included, but at least one input. Empty when none waits.
        """
        anchor = self._anchor()
        if anchor is None:
            return []
        end = bisect_right(self._waiting, anchor.order, key=_order)
        start = max(0, end - max(1, budget // len(anchor.tokens)))
        while not self._may_share(start, end):
            start += 1
        while end < len(self._waiting) and self._may_share(start, end + 1):
            if (end + 1 - start) * len(self._waiting[end].tokens) > budget:
                break
            end += 1
        pack = self._waiting[start:end]
        del self._waiting[start:end]
        for entry in pack:
            entry.is_taken = True
        return pack[::-1]

    def _may_share(self, start: int, end: int) -> bool:
        """Whether the waiting inputs from `start` to before `end` are of about one length."""
        shortest, longest = self._waiting[start], self._waiting[end - 1]
        return len(longest.tokens) * _MIN_FILL <= len(shortest.tokens) + _FREE_PADDING

    def _anchor(self) -> Input | None:
        self._num_packs += 1
        is_oldest_turn = self._num_packs % _OLDEST_PACKS == 0
        background: Input | None = None
        for request in self._requests.values():
            left = request.longest_last
            while left and left[-1].is_taken:
                left.pop()
            if left and (request.is_urgent or is_oldest_turn):
                return left[-1]
            if left and background is None:
                background = left[-1]
        return background

    def put(self, entry: Input, vector: bytes) -> Request | None:
        """Note an input's vector. Returns its request, now forgotten, if it was the last one."""
        request = entry.request
        request.vectors[entry.index] = vector
        request.num_left -= 1
        if request.num_left or not self.holds(request):
            return None
        del self._requests[request.id]
        return request


def _order(entry: Input) -> tuple[int, int]:
    return entry.order
