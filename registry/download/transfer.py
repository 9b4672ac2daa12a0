"""One attempt of a download: whether the answer fits, and its body into the part.

`fetch` imports it late, so that a server that downloads nothing does not load httpx.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator

import httpx

from registry.errors import DownloadFailed, SourceRefused

from . import address
from .exchange import Exchange
from .part import Part, blocking, free_bytes
from .refusal import describe, number, refusal
from .remote import DownloadSettings, Interrupted, OnProgress, Remote, Restarted

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class Transfer:
    """All attempts at one file share it; one task uses it."""

    def __init__(
        self,
        remote: Remote,
        part: Part,
        report: OnProgress,
        settings: DownloadSettings,
        exchange: Exchange,
    ) -> None:
        self.is_complete = False
        self._remote = remote
        self._url = exchange.url
        self._part = part
        self._report = report
        self._settings = settings
        self._exchange = exchange
        if part.size and part.size == self._total():
            self.is_complete = True

    async def attempt(self) -> None:
        """Ask for what is missing and take what comes; `is_complete` says if that was all.

        Raises Interrupted, Restarted, SourceRefused, DownloadFailed.
        """
        self._report(self._part.size, self._total())
        try:
            response = await self._exchange.ask(self._headers())
        except httpx.TransportError as error:
            raise Interrupted(describe(error)) from error
        try:
            await self._judge(response)
            if not self.is_complete:
                await self._take(response)
        except httpx.TransportError as error:
            raise Interrupted(describe(error)) from error
        finally:
            await response.aclose()

    def _headers(self) -> dict[str, str]:
        """What asks for the rest of the version that was begun."""
        if not self._part.size:
            return {}
        headers = {"Range": f"bytes={self._part.size}-"}
        state = self._part.state
        # If-Range allows no weak ETag; the answer's own is compared in any case.
        if state.etag and not state.etag.startswith("W/"):
            headers["If-Range"] = state.etag
        elif state.last_modified and not state.etag:
            headers["If-Range"] = state.last_modified
        return headers

    async def _judge(self, response: httpx.Response) -> None:
        """Check the answer, and empty the part if need be; the body then continues the part."""
        encoding = response.headers.get("content-encoding", "identity")
        if response.status_code in (200, 206) and encoding != "identity":
            raise DownloadFailed(
                f"{address.shown(response.url)} came compressed, although it was asked not to."
            )
        match response.status_code:
            case 200:
                await self._judge_whole(response)
            case 206:
                await self._judge_range(response)
            case 416:
                await self._judge_refused_range(response)
            case _:
                raise refusal(response)
        state = self._part.state
        state.etag = response.headers.get("etag")
        state.last_modified = response.headers.get("last-modified")
        await self._check_space()

    async def _judge_whole(self, response: httpx.Response) -> None:
        length = number(response.headers.get("content-length"))
        chunked = response.headers.get("transfer-encoding", "").lower() == "chunked"
        if length is None and not chunked and self._total() is None:
            raise SourceRefused(
                f"{address.shown(response.url)} does not say how long the file is, so nobody "
                "could tell whether all of it has arrived."
            )
        self._check_size(length)
        if self._part.size:  # only now: a captive portal's page must not cost what is here
            await blocking(self._part.restart)
        await self._note_total(length)

    async def _judge_range(self, response: httpx.Response) -> None:
        header = response.headers.get("content-range", "")
        matched = _CONTENT_RANGE.fullmatch(header)
        if matched is None or int(matched[1]) != self._part.size:
            await blocking(self._part.restart)
            raise Restarted(f"asked for the rest, the server sent {header or 'no Content-Range'!r}")
        if self._has_changed(response):
            await blocking(self._part.restart)
            raise Restarted("the file has changed at its source")
        await self._note_total(number(matched[3]))

    async def _judge_refused_range(self, response: httpx.Response) -> None:
        """416: the server has nothing after what we have. That is all of it, or another file."""
        total = response.headers.get("content-range", "").removeprefix("bytes */")
        is_all = number(total) == self._part.size and self._total() in (None, self._part.size)
        if self._part.size and is_all and not self._has_changed(response):
            self._part.state.size = self._part.size
            self.is_complete = True
            return
        await blocking(self._part.restart)
        raise Restarted("the server has no more of the file, yet it is not complete")

    def _has_changed(self, response: httpx.Response) -> bool:
        """Whether this is another version than the one begun, or could be."""
        state = self._part.state
        etag: str | None = response.headers.get("etag")
        last_modified: str | None = response.headers.get("last-modified")
        if state.etag or etag:
            return state.etag != etag
        if state.last_modified or last_modified:
            return state.last_modified != last_modified
        return self._remote.sha256 is None  # else the hash shows it at the end

    def _check_size(self, offered: int | None) -> None:
        """Raises for a size other than the one known beforehand, or above the limit."""
        name = self._part.target.name
        if self._remote.size is not None and offered not in (None, self._remote.size):
            raise DownloadFailed(
                f"{name} should have {self._remote.size} bytes, but {address.shown(self._url)} "
                f"offers {offered}."
            )
        if (offered or 0) > self._settings.max_bytes:
            raise SourceRefused(
                f"{name} has {offered} bytes, the limit is {self._settings.max_bytes}."
            )

    async def _note_total(self, offered: int | None) -> None:
        """Note the size. Raises Restarted if the server told another one before."""
        self._check_size(offered)
        expected = self._total()
        if expected is not None and offered not in (None, expected):
            await blocking(self._part.restart)
            raise Restarted(f"it had {expected} bytes before, and has {offered} now")
        self._part.state.size = offered if offered is not None else expected

    async def _check_space(self) -> None:
        """Raises DownloadFailed if the disk has no room for what is missing."""
        free = await blocking(free_bytes, self._part.target.parent)
        missing = (self._total() or self._part.size) - self._part.size
        lacking = missing + self._settings.reserve_bytes - free
        if lacking > 0 and not self.is_complete:
            raise self._part.disk_full(lacking)

    async def _take(self, response: httpx.Response) -> None:
        """Read the body to its end. Whatever happens, what has arrived is written."""
        buffer = bytearray()
        pace = _Pace(self._settings)
        total = self._total()
        try:
            body = response.aiter_raw()
            assert isinstance(body, AsyncGenerator)
            async with contextlib.aclosing(body) as pieces:
                async for piece in pieces:
                    buffer += piece
                    arrived = self._part.size + len(buffer)
                    if arrived > (self._settings.max_bytes if total is None else total):
                        buffer.clear()
                        await self._discard(total)
                    self._report(arrived, total)
                    pace.add(len(piece))
                    if len(buffer) >= self._settings.write_bytes:
                        await self._write(buffer)
        finally:
            await self._write(buffer)
        self.is_complete = self._total() in (None, self._part.size)

    async def _discard(self, total: int | None) -> None:
        await blocking(self._part.restart)
        limit = self._settings.max_bytes if total is None else total
        raise DownloadFailed(
            f"{address.shown(self._url)} sends more than {limit} bytes: not the file it should be."
        )

    async def _write(self, buffer: bytearray) -> None:
        data = bytes(buffer)
        buffer.clear()
        if data:
            await blocking(self._part.append, data)
            if self._total() is None:
                await self._check_space()

    def _total(self) -> int | None:
        return self._part.state.size if self._remote.size is None else self._remote.size


class _Pace:
    """Notices a stream that only trickles."""

    def __init__(self, settings: DownloadSettings) -> None:
        self._window_s = settings.stall_s
        self._wanted = settings.min_bytes_per_s * settings.stall_s
        # The loop's time stands still while the process is stopped: nothing could come then.
        self._now = asyncio.get_running_loop().time
        self._since = self._now()
        self._num_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Raises Interrupted after a window with too little in it."""
        self._num_bytes += num_bytes
        now = self._now()
        if now - self._since >= self._window_s:
            if self._num_bytes < self._wanted:
                raise Interrupted(f"only {self._num_bytes} bytes came in {self._window_s:g} s")
            self._since, self._num_bytes = now, 0
