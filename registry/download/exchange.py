"""One request for a file and its answer, along redirects that are each checked like the first URL.

`transfer` takes whole files by it, `peek` a few bytes. Imported late: it loads httpx.
"""

import asyncio
from types import TracebackType
from typing import Literal

import httpx

from registry.errors import SourceRefused
from runtime.processes.destinations import HERE

from . import address
from .part import blocking
from .proxies import Proxy
from .refusal import describe, proxy_refusal, through
from .remote import DownloadSettings, Interrupted, Remote
from .transport import CheckedTransport

_MAX_REDIRECTS = 5


class Exchange:
    """All requests for one file share it. A context manager; one task uses it."""

    def __init__(
        self, remote: Remote, settings: DownloadSettings, transport: CheckedTransport
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
        hub = address.check_url(remote.url) if remote.is_of_hub else None
        transport = CheckedTransport(settings, await blocking(address.tls_context), hub)
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

        Raises Interrupted when it does not come in time or a proxy fails, httpx.TransportError,
        SourceRefused.
        """
        url = self.url
        timeout = {"timeout": httpx.Timeout(self._settings.stall_s).as_dict()}
        for _ in range(_MAX_REDIRECTS + 1):
            # No httpx.Client: it would keep cookies, and follow redirects unchecked.
            all_headers = self._headers(url) | headers
            request = httpx.Request(method, url, headers=all_headers, extensions=timeout)
            proxy = self._settings.proxies.for_url(str(url))
            self._mean(url, proxy)
            response = await self._send(request, proxy)
            response.request = request
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            await response.aclose()
            url = address.follow(url, response.headers.get("location", ""))
        raise SourceRefused(
            f"{address.shown(self.url)} redirects more than {_MAX_REDIRECTS} times."
        )

    async def _send(self, request: httpx.Request, proxy: Proxy | None) -> httpx.Response:
        """One request. What a proxy answers for itself, or stands in the way of, is said so."""
        try:
            async with asyncio.timeout(self._settings.stall_s):
                response = await self._transport.send(request, proxy)
        except TimeoutError as error:
            raise Interrupted(
                f"{address.shown(request.url)}{through(proxy)} did not answer in "
                f"{self._settings.stall_s:g} s"
            ) from error
        except httpx.ProxyError as error:
            assert proxy is not None
            raise proxy_refusal(proxy, str(error), request.url.host) from error
        except httpx.TransportError as error:
            if proxy is None:
                raise
            raise Interrupted(f"{describe(error)},{through(proxy)}") from error
        if proxy is not None and response.status_code == 407:
            await response.aclose()
            raise proxy_refusal(proxy, "407", request.url.host)
        response.extensions["proxy"] = proxy
        return response

    def _mean(self, url: httpx.URL, proxy: Proxy | None) -> None:
        """Say why this is connected to, for the record of where this process went."""
        purpose = "the hub" if self._remote.is_of_hub else "a URL that was pulled"
        if url.raw_host != self.url.raw_host:
            purpose = f"files of {self.url.host}, which redirects there"
        HERE.mean(url.raw_host.decode("ascii"), purpose)
        if proxy is not None:
            HERE.mean(proxy.host, proxy.purpose)

    def _headers(self, url: httpx.URL) -> dict[str, str]:
        headers = {"User-Agent": "mlx-edge", "Accept": "*/*", "Accept-Encoding": "identity"}
        if self._remote.token and address.origin(url) == address.origin(self.url):
            headers["Authorization"] = f"Bearer {self._remote.token}"
        return headers
