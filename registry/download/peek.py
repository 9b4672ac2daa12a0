"""A look at a file that is not fetched (yet): its first bytes, or only its size.

Called by `jobs.weights` and `jobs.acquire` to decide what to fetch.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from registry.errors import DownloadFailed

from .part import blocking
from .remote import DownloadSettings, Interrupted, Remote

if TYPE_CHECKING:  # it loads httpx, which nobody needs before the first download
    from .exchange import Exchange

T = TypeVar("T")


async def read_range(remote: Remote, begin: int, end: int, settings: DownloadSettings) -> bytes:
    """The bytes begin..end of a file, fewer where it ends before.

    A server that knows no ranges is left as soon as these bytes have come. Raises SourceMissing,
    SourceRefused, DownloadFailed.
    """

    async def ask(exchange: "Exchange") -> bytes:
        from .refusal import refusal

        response = await exchange.ask({"Range": f"bytes={begin}-{end - 1}"})
        try:
            if response.status_code == 416:  # the file ends before
                return b""
            if response.status_code not in (200, 206):
                raise refusal(response)
            skipped = begin if response.status_code == 200 else 0
            found = bytearray()
            async with asyncio.timeout(settings.stall_s):
                async for piece in response.aiter_raw():
                    found += piece
                    if len(found) >= skipped + end - begin:
                        break
            return bytes(found[skipped : skipped + end - begin])
        except TimeoutError as error:
            raise Interrupted("its first bytes did not come in time") from error
        finally:
            await response.aclose()

    return await _in_attempts(remote, ask, settings)


async def size_of(remote: Remote, settings: DownloadSettings) -> int | None:
    """What the server says of a file's size; None where it does not say.

    A 0 says nothing: some answer HEAD so, whatever the file has. Raises SourceMissing,
    SourceRefused, DownloadFailed.
    """

    async def ask(exchange: "Exchange") -> int | None:
        from .refusal import number, refusal

        response = await exchange.ask({}, "HEAD")
        await response.aclose()
        if response.status_code in (405, 501):  # it knows no HEAD
            return None
        if response.status_code != 200:
            raise refusal(response)
        return number(response.headers.get("content-length")) or None

    return await _in_attempts(remote, ask, settings)


async def _in_attempts(
    remote: Remote, ask: "Callable[[Exchange], Awaitable[T]]", settings: DownloadSettings
) -> T:
    await blocking(importlib.import_module, ".exchange", __package__)
    import httpx

    from . import address
    from .exchange import Exchange
    from .refusal import describe

    async with await Exchange.open(remote, settings) as exchange:
        for attempt in range(1, settings.max_attempts + 1):
            try:
                return await ask(exchange)
            except (httpx.TransportError, Interrupted) as error:
                if attempt == settings.max_attempts:
                    reason = str(error) if isinstance(error, Interrupted) else describe(error)
                    raise DownloadFailed(
                        f"{address.shown(exchange.url)} could not be looked at: {reason}."
                    ) from error
                asked = error.retry_after_s if isinstance(error, Interrupted) else None
                backoff_s = settings.backoff_s * 2.0 ** (attempt - 1)
                await asyncio.sleep(min(max(asked or 0.0, backoff_s), settings.max_wait_s))
    raise AssertionError("max_attempts is below 1")
