"""Tests of registry.download.transport: what a proxy is asked for, and what it is not."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.download import address
from registry.download.proxies import Proxies, Proxy
from registry.download.remote import DownloadSettings, Remote
from registry.errors import DownloadFailed, SourceRefused
from tests.downloads import DATA, get_from, is_whole
from tests.hub.certificate import Certificate, make_certificate
from tests.hub.hub_server import HubServer, Redirect, Status
from tests.hub.proxy_server import ProxyServer

SETTINGS = DownloadSettings(max_attempts=2, backoff_s=0.001, reserve_bytes=0, stall_s=5)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(
        tmp_path_factory.mktemp("certificate"), "hub.example", "cdn.example", "a.example"
    )


@pytest.fixture
def proxy(
    hub: HubServer, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProxyServer]:
    """Knows names that nobody else does; they lead to the hub."""
    monkeypatch.setattr(address, "tls_context", certificate.trusted)
    names = ("hub.example", "cdn.example", "a.example", "b.example")
    with ProxyServer(dict.fromkeys(names, hub.url), certificate) as proxy:
        yield proxy


def through(proxy: ProxyServer, *allowed: str, no_proxy: str = "") -> DownloadSettings:
    url = proxy.url.replace("http://", "http://me:se%3Acret@")
    found = Proxies(
        Proxy(url, "HTTP_PROXY"), Proxy(url, "HTTPS_PROXY"), None, tuple(no_proxy.split())
    )
    return replace(SETTINGS, proxies=found, allowed_private_hosts=allowed)


def of_hub(url: str) -> Remote:
    return Remote(url, is_of_hub=True)


def resolve(monkeypatch: pytest.MonkeyPatch, **names: str) -> None:
    """Have these names (with _ for a dot), and no other, lead to an address."""
    known = {name.replace("_", "."): ip for name, ip in names.items()}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **named: Any) -> list[Any]:
        if host in known:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], port))]
        if isinstance(host, str) and host.endswith(".example"):
            raise socket.gaierror(-2, "Name or service not known")
        return real(host, port, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_the_hub_is_asked_through_its_proxy(
    proxy: ProxyServer, hub: HubServer, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By CONNECT and by name, which nobody resolves here; the password is for the proxy alone."""
    caplog.set_level(logging.DEBUG)
    hub.misbehave("first", Redirect("https://cdn.example/files/a.gguf"))
    await get_from(of_hub("https://hub.example/first"), target, through(proxy))
    assert is_whole(target)
    basic = "Basic bWU6c2U6Y3JldA=="
    assert proxy.seen == [
        ("CONNECT", "hub.example:443", basic),
        ("CONNECT", "cdn.example:443", basic),
    ]
    assert [seen.headers["host"] for seen in hub.requests] == ["hub.example", "cdn.example"]
    assert not any("proxy-authorization" in seen.headers for seen in hub.requests)
    assert "cret" not in caplog.text and basic not in caplog.text


async def test_the_certificate_is_the_names(proxy: ProxyServer, target: Path) -> None:
    """Whoever answers behind the proxy."""
    with pytest.raises(DownloadFailed, match="certificate.*, through the proxy http://127"):
        await get_from(of_hub("https://b.example/files/a.gguf"), target, through(proxy))


async def test_plain_http_is_forwarded(proxy: ProxyServer, hub: HubServer, target: Path) -> None:
    """To a host that the operator named."""
    url = "http://a.example/files/a.gguf?Signature=x"
    await get_from(Remote(url), target, through(proxy, "a.example"))
    assert is_whole(target)
    assert [(method, seen) for method, seen, _ in proxy.seen] == [("GET", url)]
    assert hub.requests[0].query == "Signature=x"


async def test_exceptions_are_asked_directly(
    proxy: ProxyServer, hub: HubServer, target: Path
) -> None:
    url = f"{hub.url}/files/a.gguf"
    await get_from(Remote(url), target, through(proxy, *hub.hosts, no_proxy="b.example 127.0.0.1"))
    assert is_whole(target) and proxy.seen == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "10.0.0.1", "169.254.169.254",
     "[::1]", "[::ffff:127.0.0.1]", "inside.example"],
)  # fmt: skip
async def test_a_proxy_is_asked_for_nothing_private(
    proxy: ProxyServer,
    hub: HubServer,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    scheme: str,
) -> None:
    """Neither by anybody's URL nor where a server redirects to, the hub's own included."""
    resolve(monkeypatch, inside_example="10.1.2.3")
    reasons = "private network|no URL"  # the parser refuses some
    with pytest.raises(SourceRefused, match=reasons):
        await get_from(Remote(f"{scheme}://{host}:9/x"), target, through(proxy))
    assert proxy.seen == []
    hub.misbehave("first", Redirect(f"{scheme}://{host}:9/x"))
    with pytest.raises(SourceRefused, match=f"{reasons}|redirects from https"):
        await get_from(of_hub("https://hub.example/first"), target, through(proxy))
    assert [seen for _, seen, _ in proxy.seen] == ["hub.example:443"]


async def test_a_strangers_name_must_be_public_here(
    proxy: ProxyServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And asked for by https: a proxy resolves it again, and a certificate then tells who it is."""
    resolve(monkeypatch, a_example="93.184.216.34")
    with pytest.raises(SourceRefused, match="'b.example' cannot be resolved here.*private-down"):
        await get_from(Remote("https://b.example/files/a.gguf"), target, through(proxy))
    with pytest.raises(SourceRefused, match="http://a.example/files/a.gguf is not https"):
        await get_from(Remote("http://a.example/files/a.gguf"), target, through(proxy))
    assert proxy.seen == []
    await get_from(Remote("https://a.example/files/a.gguf"), target, through(proxy))
    assert is_whole(target)


@pytest.mark.parametrize("host", ["intranet", "10.1", "0x7f.1x", "a.example.0x10"])
async def test_the_hub_leads_to_public_names(
    proxy: ProxyServer, hub: HubServer, target: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """One that is not resolved here has to look like one that anybody could have."""

    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    hub.misbehave("first", Redirect(f"https://{host}/x"))
    settings = through(proxy)
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda at, *a, **k: (real if at == "127.0.0.1" else unknown)(at, *a, **k),
    )
    with pytest.raises(SourceRefused, match="cannot be resolved here|no URL"):
        await get_from(of_hub("https://hub.example/first"), target, settings)
    assert [seen for _, seen, _ in proxy.seen] == ["hub.example:443"]


@pytest.mark.parametrize(
    "answer, num_asked, error, says",
    [
        ("407 Proxy Authentication Required", 1, SourceRefused,
         "The proxy http://127.0.0.1:PORT (VARIABLE) answered 407: it wants a user name"),
        ("403 Forbidden", 1, SourceRefused, "proxy http://127.0.0.1:PORT (VARIABLE)"),
        ("502 Bad Gateway", 2, DownloadFailed, "proxy http://127.0.0.1:PORT (VARIABLE)"),
        ("", 2, DownloadFailed, "the proxy http://127.0.0.1:PORT (VARIABLE) did not answer"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_is_named(
    hub: HubServer,
    target: Path,
    scheme: str,
    answer: str,
    num_asked: int,
    error: type[Exception],
    says: str,
) -> None:
    """With what it said, and without the password; tried again only where that can help."""
    with ProxyServer({}, answer=answer) as proxy:
        settings = replace(through(proxy, "a.example"), stall_s=0.2)
        with pytest.raises(error) as caught:
            await get_from(Remote(f"{scheme}://a.example/x"), target, settings)
        expected = says.replace("PORT", str(proxy.port))
        assert expected.replace("VARIABLE", f"{scheme.upper()}_PROXY") in str(caught.value)
        assert "cret" not in str(caught.value) and len(proxy.seen) == num_asked


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_gone_is_named(target: Path, scheme: str) -> None:
    with ProxyServer({}) as proxy:
        pass
    with pytest.raises(DownloadFailed, match="ConnectError.*through the proxy http://127.0.0.1:"):
        await get_from(Remote(f"{scheme}://a.example/x"), target, through(proxy, "a.example"))


async def test_what_the_far_end_answers_is_its_own(
    proxy: ProxyServer, hub: HubServer, target: Path
) -> None:
    """With the way that the answer came: a proxy that blocks a page often says 403 for it."""
    hub.misbehave("a.gguf", Status(403))
    with pytest.raises(SourceRefused, match="a.example/files/a.gguf through the proxy.*403"):
        await get_from(Remote("http://a.example/files/a.gguf"), target, through(proxy, "a.example"))


async def test_a_socks_proxy_is_asked(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which ALL_PROXY often is; it gets the name as well (RFC 1928)."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, num_methods = await reader.readexactly(2)
        await reader.readexactly(num_methods)
        writer.write(b"\x05\x00")  # no password
        *_, length = await reader.readexactly(5)
        asked.append(await reader.readexactly(length))
        await reader.readexactly(2)  # the port
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        proxies = Proxies(all=Proxy(f"socks5://127.0.0.1:{port}", "ALL_PROXY"))
        settings = replace(SETTINGS, proxies=proxies, allowed_private_hosts=("a.example",))
        await get_from(Remote("http://a.example/x"), target, settings)
    assert is_whole(target) and asked == [b"a.example"]


async def test_certificates_that_cannot_be_read_are_named(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that looks into https has an authority of its own, which SSL_CERT_FILE names."""
    address.tls_context.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(target))
    with pytest.raises(SourceRefused, match="SSL_CERT_FILE or SSL_CERT_DIR names certificates"):
        await get_from(Remote("https://a.example/x"), target)
