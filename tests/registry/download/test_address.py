"""Tests of download.address and transport: what may be connected to, in all its spellings."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.download import address
from registry.download.fetch import fetch
from registry.download.remote import DownloadSettings, Remote
from registry.errors import DownloadFailed, SourceRefused
from tests.hub.certificate import make_certificate

SETTINGS = DownloadSettings(max_attempts=1, reserve_bytes=0, stall_s=5)

BAD_URLS = ["", "x", "//a.example/x", "http://", "http:///x", "file:///etc/passwd",
            "ftp://a.example/x", "gopher://a.example", "http://me:secret@a.example/",
            "http://me@a.example/", "http://a.example\\@127.0.0.1/", "http://a.example/ x",
            "http://a.example/\n", "http://a.example/\0", "http://[::1", "http://a.example:x/",
            "http://a.example/" + "x" * 9000]  # fmt: skip

PRIVATE = ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0.0.0.0", "10.0.0.1",
           "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1",
           "255.255.255.255", "localhost", "localhost.", "LOCALHOST", "[::1]", "[::]",
           "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::7f00:1]", "[fe80::1]", "[fc00::1]",
           "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]",
           "[2002:7f00:1::]", "[2001:0:7f00:1::]"]  # fmt: skip


async def get(url: str, folder: Path, settings: DownloadSettings = SETTINGS) -> None:
    await fetch(Remote(url), folder / "a.gguf", lambda *_: None, settings)


@pytest.mark.parametrize("url", BAD_URLS)
async def test_what_is_no_plain_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        await get(url, tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", PRIVATE)
async def test_private_addresses_are_refused(
    tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every spelling that the resolver understands; nothing is connected to."""
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", _unreachable)
    with pytest.raises((SourceRefused, DownloadFailed)) as caught:
        await get(f"http://{host}:9/a", tmp_path)
    # The parser refuses some, and a system without IPv6 cannot resolve some.
    reasons = ("private network", "no URL", "cannot be resolved")
    assert any(reason in str(caught.value) for reason in reasons)


@pytest.mark.parametrize(
    "ip", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_not(ip: str) -> None:
    assert address.is_public(ip)


@pytest.mark.parametrize(
    "ip",
    ["127.0.0.1", "0.0.0.0", "10.1.2.3", "169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1",
     "192.0.2.1", "198.18.0.1", "::1", "::", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1%eth0",
     "fc00::1", "fec0::1", "ff0e::1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:a00:1::",
     "2001:0:a00:1::", "2001:db8::1"],
)  # fmt: skip
def test_no_disguise_makes_an_address_public(ip: str) -> None:
    assert not address.is_public(ip)


async def test_one_private_address_of_several_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolve_to(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", _unreachable)
    with pytest.raises(SourceRefused, match="10.0.0.1"):
        await get("https://a.example/a", tmp_path)


async def test_the_checked_address_is_the_one_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that flips its answer is asked once; Host and SNI are still the name."""
    seen: list[httpx.Request] = []
    calls = _resolve_to(monkeypatch, ["93.184.216.34"], then=["127.0.0.1"])

    async def answer(self: object, request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b"abc"), headers={"content-length": "3"})

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    await get("https://a.example/a", tmp_path)
    (request,) = seen
    assert request.url.host == "93.184.216.34"
    assert request.headers["host"] == "a.example"
    assert request.extensions["sni_hostname"] == "a.example"
    assert calls == ["a.example"]


async def test_the_next_address_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose first address does not answer, as with half-configured IPv6."""
    _resolve_to(monkeypatch, ["2606:2800:220:1::1", "93.184.216.34"])

    async def answer(self: object, request: httpx.Request) -> httpx.Response:
        if ":" in request.url.host:
            raise httpx.ConnectError("no route")
        return httpx.Response(200, stream=httpx.ByteStream(b"abc"), headers={"content-length": "3"})

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    await get("https://a.example/a", tmp_path)
    assert (tmp_path / "a.gguf").read_bytes() == b"abc"


async def test_hosts_are_allowed_with_or_without_their_port(tmp_path: Path) -> None:
    """What is allowed is connected to (and is not there); another port is still refused."""
    for allowed in ("127.0.0.1", "127.0.0.1:1"):
        settings = DownloadSettings(allowed_private_hosts=(allowed,), max_attempts=1)
        with pytest.raises(DownloadFailed, match="ConnectError"):
            await get("http://127.0.0.1:1/a", tmp_path, settings)
    with pytest.raises(SourceRefused, match="private network"):
        await get("http://127.0.0.1:2/a", tmp_path, settings)


async def test_certificates_are_checked_for_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to an address; SNI, Host and certificate are the name's."""
    async with _https(tmp_path, monkeypatch) as (port, names):
        settings = DownloadSettings(
            allowed_private_hosts=("a.example", "b.example"), max_attempts=1, reserve_bytes=0
        )
        await get(f"https://a.example:{port}/a", tmp_path, settings)
        assert (tmp_path / "a.gguf").read_bytes() == b"abc"
        with pytest.raises(DownloadFailed, match="certificate"):
            await get(f"https://b.example:{port}/b", tmp_path, settings)
        assert names == ["a.example", "b.example"]


async def test_https_is_never_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _https(tmp_path, monkeypatch, b"Location: http://a.example/x\r\n") as (port, _):
        settings = DownloadSettings(allowed_private_hosts=("a.example",), max_attempts=1)
        with pytest.raises(SourceRefused, match="redirects from https to http://a.example/x"):
            await get(f"https://a.example:{port}/a", tmp_path, settings)


async def _unreachable(self: object, request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"connected to {request.url}")


def _resolve_to(
    monkeypatch: pytest.MonkeyPatch, first: list[str], then: list[str] | None = None
) -> list[str]:
    """Have every name resolve to these addresses; returns the names asked for."""
    calls: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        calls.append(host)
        found = first if then is None or len(calls) == 1 else then
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return calls


@contextlib.asynccontextmanager
async def _https(
    folder: Path, monkeypatch: pytest.MonkeyPatch, redirect: bytes | None = None
) -> AsyncIterator[tuple[int, list[str | None]]]:
    """A server with a certificate for a.example, which all names lead to: its port, its SNIs."""
    certificate = make_certificate(folder, "a.example")
    names: list[str | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if redirect is None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        else:
            writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + redirect + b"\r\n")
        await writer.drain()
        writer.close()

    theirs = certificate.served()
    theirs.sni_callback = lambda _, name, __: names.append(name)
    monkeypatch.setattr(address, "tls_context", certificate.trusted)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=theirs) as server:
        _resolve_to(monkeypatch, ["127.0.0.1"])
        yield server.sockets[0].getsockname()[1], names
