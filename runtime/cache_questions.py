"""An engine's prefix cache, asked of it: each answer finds who waits for it."""

import asyncio
import itertools
from collections.abc import Callable

from .cached import CacheDescription
from .engine_messages import CacheReport, Command, DescribeCache, ForgetCache
from .errors import RuntimeFault, Unavailable

_LIMIT_S = 10.0  # an engine answers between two steps


class CacheQuestions:
    """Of one engine."""

    def __init__(self, send: Callable[[Command], None], limit_s: float = _LIMIT_S) -> None:
        self._send = send
        self._limit_s = limit_s
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[CacheDescription]] = {}
        self._fault: RuntimeFault | None = None
        self.last = CacheDescription()  # as the engine told it last

    def refresh(self) -> None:
        """Have `last` told anew, some time soon."""
        self._send(DescribeCache(next(self._numbers)))

    async def describe(self) -> CacheDescription:
        """What it holds. Raises what `fail` was given, or Unavailable of an engine too busy."""
        if self._fault is not None:
            raise self._fault
        number = next(self._numbers)
        answer: asyncio.Future[CacheDescription] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._send(DescribeCache(number))
            async with asyncio.timeout(self._limit_s):
                return await answer
        except TimeoutError:
            raise Unavailable(
                f"The engine did not tell of its cache within {self._limit_s:g} s. "
                "Try again in a moment."
            ) from None
        finally:
            del self._asked[number]

    def forget(self, *, on_disk: bool = False) -> None:
        """Drop all that it holds, on disk too if said so; rows that run keep what is theirs."""
        self._send(ForgetCache(on_disk))
        self.refresh()

    def answer(self, report: CacheReport) -> None:
        """Take in an answer. Who left meanwhile is not told."""
        self.last = report.description
        if (asked := self._asked.get(report.number)) is not None and not asked.done():
            asked.set_result(report.description)

    def fail(self, fault: RuntimeFault) -> None:
        """No answer comes any more."""
        self._fault = fault
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(fault)
                asked.exception()  # seen, should nobody wait for it any more
