"""Tests of registry.download.transfer: one attempt, against a source that answers all wrong."""

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest

from registry.download.fetch import Fetched
from registry.download.remote import Remote
from registry.errors import DownloadFailed, SourceRefused
from tests.downloads import DATA, HALF, SETTINGS, SHA256, get, get_from, get_some, is_whole, ranges
from tests.hub.hub_server import (
    ChangeETag,
    Endless,
    Fault,
    HubServer,
    IgnoreRange,
    NoValidators,
    Redirect,
    RefuseRange,
    Reset,
    ShortRange,
    Slow,
    Stall,
    Status,
    Truncate,
    WithHeaders,
    WrongLength,
    WrongRange,
)


@pytest.mark.parametrize("fault", [Truncate(HALF), Reset(HALF), Stall(HALF), ShortRange(HALF)])
async def test_what_broke_off_goes_on(hub: HubServer, target: Path, fault: Fault) -> None:
    """The second request asks for the rest of the same version, and for no byte twice."""
    hub.misbehave("a.gguf", fault, times=1)
    assert (await get(hub, target, replace(SETTINGS, stall_s=0.3))).sha256 == SHA256
    assert is_whole(target)
    if not isinstance(fault, ShortRange):  # it strikes ranges only
        first, second = hub.requests
        assert "range" not in first.headers
        assert second.headers["if-range"] == f'"{SHA256}"'
        begun = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
        # A reset may take along what the kernel held; all that was received counts.
        assert begun == HALF or (isinstance(fault, Reset) and begun <= HALF)


async def test_ranges_that_come_in_pieces_are_joined(hub: HubServer, target: Path) -> None:
    hub.misbehave("a.gguf", Truncate(HALF), times=1)
    hub.misbehave("a.gguf", ShortRange(200_000))
    await get(hub, target)
    assert ranges(hub) == [None, "bytes=500000-", "bytes=700000-", "bytes=900000-"]
    assert is_whole(target)


@pytest.mark.parametrize(
    "fault, num_requests",
    [
        (IgnoreRange(), 2),
        (ChangeETag('"new"'), 2),  # 200: If-Range did not match
        (WithHeaders({"ETag": '"other"'}), 3),  # 206 of another version
        (NoValidators(), 3),
        (WrongRange(), 3),
        (RefuseRange(), 3),
        (RefuseRange(total=HALF + 1), 3),
    ],
)
async def test_a_part_that_may_not_fit_is_begun_anew(
    hub: HubServer, target: Path, fault: Fault, num_requests: int
) -> None:
    """200 for 206, another ETag, another range, 416 or no validator: no two files are mixed."""
    hub.misbehave("a.gguf", Truncate(HALF), times=1)
    hub.misbehave("a.gguf", fault, times=1)
    assert (await get(hub, target)).sha256 == SHA256
    assert is_whole(target)
    assert ranges(hub) == [None, "bytes=500000-", None][:num_requests]


async def test_a_captive_portal_costs_nothing(hub: HubServer, target: Path) -> None:
    """A page of another length in the place of the file leaves the part as it is."""
    await get_some(hub, target, HALF)
    arrived = target.with_name("a.gguf.part").stat().st_size
    hub.misbehave("a.gguf", Status(200), times=1)
    with pytest.raises(DownloadFailed, match="offers 2"):
        await get(hub, target, size=len(DATA))
    await get(hub, target, size=len(DATA))
    assert ranges(hub)[-1] == f"bytes={arrived}-"
    assert is_whole(target)


async def test_a_date_is_a_validator_as_well(hub: HubServer, target: Path) -> None:
    """Last-Modified where there is no ETag; another date is another file."""
    for date in ("Mon", "Tue"):
        hub.behave()
        hub.requests.clear()
        hub.misbehave("a.gguf", NoValidators(last_modified="Mon"), times=1)
        await get_some(hub, target, HALF)
        begun = target.with_name("a.gguf.part").stat().st_size
        hub.misbehave("a.gguf", NoValidators(last_modified=date))
        await get(hub, target)
        assert hub.requests[1].headers["if-range"] == "Mon"
        assert ranges(hub)[1] == f"bytes={begun}-"
        assert is_whole(target)


async def test_a_file_that_changes_between_attempts_is_the_new_one(
    hub: HubServer, target: Path
) -> None:
    new = DATA[::-1] + b"longer"
    hub.misbehave("a.gguf", Truncate(HALF), times=1)
    hub.misbehave("a.gguf", ChangeETag('"new"', new))
    fetched = await get(hub, target)
    assert fetched == Fetched(len(new), hashlib.sha256(new).hexdigest(), '"new"')
    assert target.read_bytes() == new


async def test_weak_etags_are_compared_here(hub: HubServer, target: Path) -> None:
    """They may not stand in If-Range; the same one in the answer is good enough."""
    weak = WithHeaders({"ETag": 'W/"1"'})
    hub.misbehave("a.gguf", weak, times=1)
    hub.misbehave("a.gguf", weak)
    await get_some(hub, target)
    await get(hub, target)
    assert "range" in hub.requests[-1].headers and "if-range" not in hub.requests[-1].headers
    assert is_whole(target)


@pytest.mark.parametrize("by", [-1, 1, 5000])
async def test_a_wrong_length_fails(hub: HubServer, target: Path, by: int) -> None:
    """Offered by the server against the size that the hub told; the part is untouched."""
    hub.misbehave("a.gguf", WrongLength(by))
    with pytest.raises(DownloadFailed, match=f"should have 1000000 bytes.*offers {1000000 + by}"):
        await get(hub, target, size=len(DATA))
    assert len(hub.requests) == 1 and not target.exists()


@pytest.mark.parametrize("size", [None, len(DATA)])
async def test_an_endless_body_ends(hub: HubServer, target: Path, size: int | None) -> None:
    """At the size that is known, or else at the limit; nothing of it is kept."""
    hub.misbehave("a.gguf", Endless())
    with pytest.raises(DownloadFailed, match="sends more than"):
        await get(hub, target, replace(SETTINGS, max_bytes=2_000_000), size=size)
    assert target.with_name("a.gguf.part").stat().st_size == 0


async def test_a_file_over_the_limit_is_refused(hub: HubServer, target: Path) -> None:
    with pytest.raises(SourceRefused, match="1000000 bytes, the limit is 1000"):
        await get(hub, target, replace(SETTINGS, max_bytes=1000))


async def test_an_unknown_length_needs_a_clear_end(hub: HubServer, target: Path) -> None:
    """Chunked, the end is certain; a body that ends with its connection proves nothing."""
    hub.misbehave("a.gguf", NoValidators(ranges=False), times=1)
    assert (await get(hub, target)).sha256 == SHA256

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(SourceRefused, match="does not say how long"):
            await get_from(Remote(url), target)


async def test_a_compressed_answer_is_refused(hub: HubServer, target: Path) -> None:
    hub.misbehave("a.gguf", WithHeaders({"Content-Encoding": "gzip"}))
    with pytest.raises(DownloadFailed, match="compressed"):
        await get(hub, target)


@pytest.mark.parametrize("fault", [Stall(0), Slow(0.02, piece=1)])
async def test_a_stall_ends_an_attempt(hub: HubServer, target: Path, fault: Fault) -> None:
    """No byte, or a trickle that would take for ever."""
    hub.misbehave("a.gguf", fault)
    settings = replace(SETTINGS, stall_s=0.2, min_bytes_per_s=1000, max_attempts=2)
    started = time.monotonic()
    with pytest.raises(DownloadFailed, match="2 times in a row"):
        await get(hub, target, settings)
    assert time.monotonic() - started < 5


async def test_redirects_are_followed_with_the_rest(hub: HubServer, target: Path) -> None:
    """From the hub to its CDN, and again from the hub when it broke off there."""
    commit = hub.add_repo("org/tiny", {"a.gguf": DATA})
    url = f"{hub.url}/org/tiny/resolve/{commit}/a.gguf"
    hub.misbehave("a.gguf", Truncate(HALF), times=1)
    remote = Remote(url, len(DATA), SHA256, hub.token)
    await get_from(remote, target)
    assert is_whole(target)
    assert [request.at for request in hub.requests] == ["hub", "cdn", "hub", "cdn"]


@pytest.mark.parametrize(
    "location, says",
    [
        ("", "more than 5 times"),
        ("http://[::1]/x", "private"),
        ("http://127.0.0.2/x", "private"),
        ("http://169.254.169.254/latest/meta-data", "private"),
        ("file:///etc/passwd", "http or https"),
        ("//user:secret@127.0.0.1/", "password"),
        ("http://127.0.0.1\\@a.example/", "backslashes"),
        ("http://[::1", "no URL"),
    ],
)
async def test_redirects_are_checked_like_the_first(
    hub: HubServer, target: Path, location: str, says: str
) -> None:
    hub.misbehave("a.gguf", Redirect(location))
    with pytest.raises(SourceRefused, match=says):
        await get(hub, target)
    assert len(hub.requests) == (6 if location == "" else 1)


async def test_a_token_stays_with_its_host(hub: HubServer, target: Path) -> None:
    """It is sent to the URL's own origin, redirects within it included, and nowhere else."""
    commit = hub.add_repo("org/tiny", {"a.gguf": DATA})
    url = f"{hub.url}/org/tiny/resolve/{commit}/a.gguf"
    hub.misbehave("here", Redirect(url), on="hub")
    remote = Remote(f"{hub.url}/here", token=hub.token)
    assert hub.token not in repr(remote)
    await get_from(remote, target)
    sent = [(request.at, request.headers.get("authorization")) for request in hub.requests]
    assert sent == [("hub", "Bearer hf_sesame"), ("hub", "Bearer hf_sesame"), ("cdn", None)]
    hub.requests.clear()
    other_port = hub.cdn_url.replace("localhost", "127.0.0.1")
    hub.misbehave("other", Redirect(f"{other_port}/files/a.gguf"), on="hub")
    remote = Remote(f"{hub.url}/other", token=hub.token)
    await get_from(remote, target)
    assert "authorization" in hub.requests[0].headers
    assert "authorization" not in hub.requests[1].headers


async def test_a_token_never_travels_readable(target: Path) -> None:
    """Over plain http it goes to a host that is configured as private, or not at all."""
    with pytest.raises(SourceRefused, match="Use https"):
        await get_from(Remote("http://a.example/", token="t"), target)


async def test_queries_are_not_told(hub: HubServer, target: Path) -> None:
    """A signed URL's query is in no error."""
    hub.misbehave("a.gguf", Status(404))
    with pytest.raises(SourceRefused) as caught:
        url = f"{hub.url}/files/a.gguf?Signature=secret"
        await get_from(Remote(url), target)
    assert "secret" not in str(caught.value)
