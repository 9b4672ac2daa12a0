"""Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, and not for NO_PROXY.

Read as httpx reads them, which asks for the hub's list of files: list and files go one way. Imports
no httpx: settings are made also where nothing is fetched.
"""

import ipaddress
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from registry.errors import SourceRefused

_SCHEMES = ("http", "https", "socks5", "socks5h")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the variable that names it. As text it has no password: it is for messages."""

    url: str = field(repr=False)
    variable: str

    @property
    def host(self) -> str:
        """What is connected to."""
        return urlsplit(self.url).hostname or ""

    @property
    def purpose(self) -> str:
        """Why it is connected to."""
        return f"the proxy of {self.variable}"

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} ({self.variable})"


@dataclass(frozen=True, slots=True)
class Proxies:
    """The environment's proxies, by the scheme of what is asked for; by default there are none."""

    http: Proxy | None = None
    https: Proxy | None = None
    all: Proxy | None = None  # for whatever has none of its own
    exceptions: tuple[str, ...] = ()  # NO_PROXY: hosts that are asked directly

    @classmethod
    def from_environment(cls) -> "Proxies":
        """In small or capital letters; where macOS has proxies in its settings, those as well."""
        found = urllib.request.getproxies()
        exceptions = tuple(filter(None, map(str.strip, found.get("no", "").split(","))))
        if "*" in exceptions:
            return cls()

        def of(scheme: str) -> Proxy | None:
            url = found.get(scheme, "")
            variable = f"{scheme.upper()}_PROXY"
            return Proxy(url if "://" in url else f"http://{url}", variable) if url else None

        return cls(of("http"), of("https"), of("all"), exceptions)

    def for_url(self, url: str) -> Proxy | None:
        """The proxy to ask for this URL, or None. Raises SourceRefused for one of no known kind."""
        for proxy in (self.http, self.https, self.all):
            if proxy is not None:
                _check(proxy)
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
        if any(_excepts(entry, parts.scheme, host, port) for entry in self.exceptions):
            return None
        return (self.https if parts.scheme == "https" else self.http) or self.all


def _check(proxy: Proxy) -> None:
    try:
        parts = urlsplit(proxy.url)
        is_known = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
        is_known = is_known and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        is_known = False
    if not is_known:
        raise SourceRefused(
            f"{proxy.variable} names no proxy that can be asked: expected http://HOST:PORT, "
            "https://HOST:PORT or socks5://HOST:PORT."
        )


def _excepts(entry: str, scheme: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY names this host: itself, a domain of it, or its network."""
    its_scheme, _, named = entry.lower().rpartition("://")
    if its_scheme not in ("", "all", scheme):
        return False
    if (network := _network(named)) is not None:
        return any(address in network for address in _addresses(host))
    name, separator, its_port = named.rpartition(":")
    if separator and its_port.isdecimal():
        if int(its_port) != port:
            return False
        named = name.strip("[]")
    if its_scheme or named == "localhost":
        return host == named
    if named.startswith((".", "*.")):  # what is below a domain, and not itself
        return host.endswith(named.removeprefix("*"))
    return host == named or host.endswith(f".{named}")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _addresses(host: str) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        yield ipaddress.ip_address(host)
    except ValueError:
        return
