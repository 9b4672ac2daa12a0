"""One request for a file and its answer, along redirects that are each checked like the first URL.

`transfer` takes whole files by it, `peek` a few bytes. Imported late: it loads httpx.
"""

import asyncio
from types import TracebackType
from typing import Literal

import httpx

from registry.errors import SourceRefused

from . import address
from .part import blocking
from .remote import DownloadSettings, Interrupted, Remote

_MAX_REDIRECTS = 5


class Exchange:
    """All requests for one file share it. A context manager; one task uses it."""

    def __init__(
        self, remote: Remote, settings: DownloadSettings, transport: address.CheckedTransport
    ) -> None:
        self.url = address.check_url(remote.url)
        self._remote = remote
        self._settings = settings
        self._transport = transport
        is_private_by_choice = address.is_allowed_private(self.url, settings.allowed_private_hosts)
        if remote.token and self.url.scheme == "http" and not is_private_by_choice:
            raise SourceRefused(
                f"The token would travel readable to {address.shown(self.url)}. Use https."
            )

    @classmethod
    async def open(cls, remote: Remote, settings: DownloadSettings) -> "Exchange":
        """Raises SourceRefused for a URL that may not be asked."""
        tls = await blocking(address.tls_context)
        transport = address.CheckedTransport(settings.allowed_private_hosts, tls)
        return cls(remote, settings, transport)

    async def __aenter__(self) -> "Exchange":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.aclose()

    async def ask(
        self, headers: dict[str, str], method: Literal["GET", "HEAD"] = "GET"
    ) -> httpx.Response:
        """The answer of the last host in a chain of redirects; the caller closes it.

        Raises Interrupted when it does not come in time, httpx.TransportError, SourceRefused.
        """
        url = self.url
        timeout = {"timeout": httpx.Timeout(self._settings.stall_s).as_dict()}
        for _ in range(_MAX_REDIRECTS + 1):
            # No httpx.Client: it would keep cookies, and follow redirects unchecked.
            all_headers = self._headers(url) | headers
            request = httpx.Request(method, url, headers=all_headers, extensions=timeout)
            try:
                async with asyncio.timeout(self._settings.stall_s):
                    response = await self._transport.handle_async_request(request)
            except TimeoutError as error:
                message = f"{address.shown(url)} did not answer in {self._settings.stall_s:g} s"
                raise Interrupted(message) from error
            response.request = request
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            await response.aclose()
            url = address.follow(url, response.headers.get("location", ""))
        raise SourceRefused(
            f"{address.shown(self.url)} redirects more than {_MAX_REDIRECTS} times."
        )

    def _headers(self, url: httpx.URL) -> dict[str, str]:
        headers = {"User-Agent": "mlx-edge", "Accept": "*/*", "Accept-Encoding": "identity"}
        if self._remote.token and address.origin(url) == address.origin(self.url):
            headers["Authorization"] = f"Bearer {self._remote.token}"
        return headers
