"""The frames of one stream in the order of their coming, for readers that come and go."""

import asyncio
from collections.abc import AsyncGenerator

from web.errors import ApiError

from .frame import Frame, Frames

# Some 100,000 events; what is beyond drops the oldest. A reader that is still there has them long
# before, or is cut off for taking nothing.
LIMIT_BYTES = 32 << 20
_AT_ONCE = 64  # frames that a reader takes


class Journal:
    """Numbered from 0. Whoever writes waits for no reader."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.num_bytes = 0
        self.is_closed = False
        self._limit_bytes = limit_bytes
        self._frames: list[Frame] = []
        self._num_dropped = 0
        self._news = asyncio.Event()

    @property
    def next_number(self) -> int:
        return self._num_dropped + len(self._frames)

    @property
    def frames(self) -> list[Frame] | None:
        """All of them; None if some are dropped."""
        return None if self._num_dropped else self._frames

    def append(self, frame: Frame) -> None:
        """One more."""
        self._frames.append(frame)
        self.num_bytes += len(frame.body)
        while self.num_bytes > self._limit_bytes and len(self._frames) > 1:
            num_dropped = max(1, len(self._frames) // 8)
            self.num_bytes -= sum(len(old.body) for old in self._frames[:num_dropped])
            self._num_dropped += num_dropped
            del self._frames[:num_dropped]
        self._tell()

    def close(self) -> None:
        """That was the last."""
        self.is_closed = True
        self._tell()

    def check(self, after: int, param: str = "after") -> None:
        """Raises ApiError where nobody can go on behind this number; `param` is its name."""
        if after != -1 and not 0 <= after < self.next_number:
            raise ApiError(
                400, f"There is no event {after} yet; the last one is {self.next_number - 1}.",
                param=param,
            )  # fmt: skip
        if after + 1 < self._num_dropped:
            raise self._dropped(param)

    def _dropped(self, param: str) -> ApiError:
        last = self._num_dropped - 1
        return ApiError(
            400, f"The events up to {last} are dropped: there were too many. Ask for the whole.",
            param=param, code="events_dropped",
        )  # fmt: skip

    async def follow(self, after: int = -1) -> AsyncGenerator[Frames, None]:
        """The frames behind this number, as they come, until the last.

        Raises ApiError for one that never was, or that is dropped.
        """
        self.check(after)
        number = after + 1
        while True:
            if number < self._num_dropped:
                raise self._dropped("after")
            if number < self.next_number:
                begin = number - self._num_dropped
                frames = self._frames[begin : begin + _AT_ONCE]
                yield frames
                number += len(frames)
            elif self.is_closed:
                return
            else:
                await self._news.wait()

    def _tell(self) -> None:
        """Wake who waits; who comes later waits for the next."""
        self._news.set()
        self._news = asyncio.Event()
