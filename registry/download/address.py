"""Where a download may connect to: URLs and addresses, checked. `transport` then uses these."""

import asyncio
import ipaddress
import os
import socket
import ssl
from functools import cache

import httpx

from registry.errors import SourceRefused

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))
IF_MEANT = "If it is meant, start with --allow-private-downloads and the host."


def check_url(url: str) -> httpx.URL:
    """Parse and check a URL; its fragment is dropped. Raises SourceRefused."""
    return follow(None, url)


def follow(base: httpx.URL | None, location: str) -> httpx.URL:
    """Where a redirect leads, checked like the first URL. Raises SourceRefused."""
    if len(location) > 8192 or not location.isprintable() or " " in location or "\\" in location:
        raise SourceRefused("The URL has spaces, backslashes or control characters, or no end.")
    try:
        url = (base.join(location) if base else httpx.URL(location)).copy_with(fragment=None)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SourceRefused(f"This is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise SourceRefused(f"Expected an http or https URL, got {shown(url)!r}.")
    if url.userinfo:
        raise SourceRefused("A URL with a user name or password in it is not fetched.")
    if base is not None and base.scheme == "https" and url.scheme != "https":
        raise SourceRefused(
            f"{shown(base)} redirects from https to {shown(url)}, where anybody on the way could "
            "change the file."
        )
    return url


def shown(url: httpx.URL) -> str:
    """A URL for messages, without its query, which may hold a secret signature."""
    text = str(url.copy_with(query=None, fragment=None, username=None, password=None))
    return text if len(text) <= 200 else text[:200] + "…"


def origin(url: httpx.URL) -> tuple[str, bytes, int]:
    """Scheme, host and port: a token is only sent where all three are those of the first URL."""
    return url.scheme, url.raw_host, _port(url)


def is_allowed_private(url: httpx.URL, allowed: tuple[str, ...]) -> bool:
    """Whether `allowed` has its "host" or "host:port", so that its address may be private."""
    host = url.raw_host.decode("ascii")
    return host in allowed or f"{host}:{_port(url)}" in allowed


def is_public(address: str) -> bool:
    """Whether an IP address is public; IPv4 addresses inside of IPv6 ones are looked at, too."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        # 6to4 and Teredo addresses embed another one; nobody serves models there.
        if any(ip in tunnel for tunnel in _TUNNELS) or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


async def resolve(url: httpx.URL, *, may_be_private: bool) -> list[str]:
    """All addresses of a URL's host. Raises SourceRefused if one of them is not public.

    Raises httpx.ConnectError if there are none.
    """
    host = url.raw_host.decode("ascii")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, _port(url), type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise SourceRefused(f"{host!r} cannot be a host's name: {error}") from error
    except OSError as error:
        raise httpx.ConnectError(f"'{host}' cannot be resolved ({error.strerror})") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not may_be_private and not is_public(address):
            raise SourceRefused(
                f"'{host}' is {address}, an address of this machine or of a private network, and "
                f"downloads from there are refused. {IF_MEANT}"
            )
    return addresses


@cache
def tls_context() -> ssl.SSLContext:
    """The usual certificate authorities and this machine's, which a proxy's own may be among; or
    those of SSL_CERT_FILE or SSL_CERT_DIR. Slow the first time. Raises SourceRefused.
    """
    try:
        context = httpx.create_ssl_context()
    except OSError as error:
        raise SourceRefused(
            f"SSL_CERT_FILE or SSL_CERT_DIR names certificates that cannot be read: {error}."
        ) from error
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        context.load_default_certs()
    return context


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)
