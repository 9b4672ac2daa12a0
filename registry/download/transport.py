"""Connects to addresses that were checked, and to no others; or asks a proxy, for names it may.

A name is resolved once, every address of it is checked, and the connection goes to one of them: a
name server that answers otherwise a moment later (DNS rebinding) changes nothing.

A proxy resolves the name itself, and perhaps in another network than ours, so what was checked here
is not what it connects to. It is asked:

- for whatever the operator named: hosts of --allow-private-downloads, and the hub's own. Behind
  many a proxy nobody else can resolve these, so that is not tried.
- for a name that is public here, over https: wherever the proxy goes, there has to be a certificate
  for this name, and no private service has one of a stranger's name. Not over plain http, where
  nothing says who answers; a proxy goes by the name, whatever else it is told (RFC 9112, 3.2.2).
- for a name that cannot be resolved here, over https, if the hub redirects to it: its files lie on
  hosts that it alone names. Anybody else's name must resolve here, or is refused.
"""

import asyncio
import re
import ssl

import httpx

from registry.errors import SourceRefused

from . import address
from .proxies import Proxy
from .remote import DownloadSettings

_CONNECT_S = 10.0  # for one address of several
_RESOLVE_S = 3.0  # for a name that may stay unresolved
_PUBLIC_NAME = re.compile(r"([a-z0-9_-]+\.)+[a-z][a-z0-9-]*\.?")


class CheckedTransport:
    """Host header, SNI and certificate stay the name's, whatever is connected to."""

    def __init__(
        self, settings: DownloadSettings, tls: ssl.SSLContext, hub: httpx.URL | None = None
    ) -> None:
        """`hub`: whose files are asked for, if they are a hub's."""
        self._allowed = settings.allowed_private_hosts
        self._tls = tls
        self._hub = hub
        self._transports: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def send(self, request: httpx.Request, proxy: Proxy | None = None) -> httpx.Response:
        """The answer to one request. Raises SourceRefused, httpx.TransportError."""
        if proxy is not None:
            await self._check_named(request.url, proxy)
            request.extensions["timeout"] = _connecting(request)
            return await self._transport(proxy).handle_async_request(request)
        is_allowed = address.is_allowed_private(request.url, self._allowed)
        failure: httpx.TransportError | None = None
        for ip in await address.resolve(request.url, may_be_private=is_allowed):
            try:
                return await self._transport(None).handle_async_request(_pinned(request, ip))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()

    def _transport(self, proxy: Proxy | None) -> httpx.AsyncHTTPTransport:
        url = None if proxy is None else proxy.url
        if url not in self._transports:
            tls = self._tls if url is not None and url.startswith("https:") else None
            self._transports[url] = httpx.AsyncHTTPTransport(
                verify=self._tls,
                trust_env=False,
                # No keep-alive: the pool would reuse a connection for another name at the same
                # address.
                limits=httpx.Limits(max_keepalive_connections=0),
                proxy=None if url is None else httpx.Proxy(url, ssl_context=tls),
            )
        return self._transports[url]

    async def _check_named(self, url: httpx.URL, proxy: Proxy) -> None:
        """Raises SourceRefused for what this proxy may not be asked for."""
        is_own = self._hub is not None and address.origin(url) == address.origin(self._hub)
        if is_own or address.is_allowed_private(url, self._allowed):
            return
        host = url.raw_host.decode("ascii")
        try:
            async with asyncio.timeout(_RESOLVE_S if self._hub is not None else None):
                found = await address.resolve(url, may_be_private=False)
        except (TimeoutError, httpx.ConnectError) as error:
            is_public_name = _PUBLIC_NAME.fullmatch(host) is not None
            if self._hub is not None and url.scheme == "https" and is_public_name:
                return
            raise SourceRefused(
                f"'{host}' cannot be resolved here, so it could be in a private network behind the "
                f"proxy {proxy}. {address.IF_MEANT}"
            ) from error
        if url.scheme != "https" and host not in found:
            raise SourceRefused(
                f"{address.shown(url)} is not https, so the proxy {proxy} could be led into a "
                f"private network by its name. Use https. {address.IF_MEANT}"
            )


def _pinned(request: httpx.Request, ip: str) -> httpx.Request:
    host = request.url.raw_host.decode("ascii")
    return httpx.Request(
        request.method,
        request.url.copy_with(host=ip),
        headers=request.headers,  # among them the Host, which is the name
        stream=request.stream,
        extensions=request.extensions | {"sni_hostname": host, "timeout": _connecting(request)},
    )


def _connecting(request: httpx.Request) -> dict[str, float | None]:
    """The request's timeouts, with less time for the connection alone."""
    timeout: dict[str, float | None] = request.extensions.get("timeout", {})
    return timeout | {"connect": min(timeout.get("connect") or _CONNECT_S, _CONNECT_S)}
