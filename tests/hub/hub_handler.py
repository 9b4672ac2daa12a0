"""How the hub and its CDN answer: metadata, redirects and bodies, or the fault that is planned."""

import asyncio
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import quote, unquote

from tests.hub.hub import Content, Hub, Repo, Seen, read, sha256_of, size_of
from tests.hub.hub_faults import (
    CHUNK,
    ChangeETag,
    Corrupt,
    Endless,
    Fault,
    IgnoreRange,
    InBody,
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


class Handler:
    """Answers the connections of one port, one request each."""

    def __init__(self, hub: Hub, at: str) -> None:
        self._hub = hub
        self._at = at

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            method, target, _ = lines[0].split(" ")
            fields = (line.split(":", 1) for line in lines[1:] if line)
            headers = {name.lower(): value.strip() for name, value in fields}
            path, _, query = target.partition("?")
            request = Seen(self._at, method, unquote(path), query, headers)
            self._hub.requests.append(request)
            await self._answer(request, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, request: Seen, writer: asyncio.StreamWriter) -> None:
        match self._hub.take(request.path, self._at, (Status, Redirect)):
            case Status(status, headers):
                await self._send(writer, status, dict(headers), b"no")
            case Redirect(location, status):
                location = location or request.path
                await self._send(writer, status, {"Location": location}, b"")
            case _:
                await self._route(request, writer)

    async def _route(self, request: Seen, writer: asyncio.StreamWriter) -> None:
        path = request.path
        if path.startswith("/api/models/"):
            await self._metadata(path.removeprefix("/api/models/"), request, writer)
        elif path in self._hub.files:
            await self._file(self._hub.files[path], request, writer)
        elif "/resolve/" in path:
            await self._resolve(request, writer)
        else:
            await self._send(writer, 404, {}, b"Not Found")

    async def _metadata(self, path: str, request: Seen, writer: asyncio.StreamWriter) -> None:
        repo_id, _, revision = path.partition("/revision/")
        revisions = self._hub.repos.get(repo_id)
        if revisions is None:
            # The real hub says 401 where a token might help.
            status = 404 if "authorization" in request.headers else 401
            headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            await self._send(writer, status, headers, b'{"error":"Repository not found"}')
        elif (repo := revisions.get(revision or "main")) is None:
            headers = {"X-Error-Code": "RevisionNotFound"}
            await self._send(writer, 404, headers, b'{"error":"Invalid rev id"}')
        else:
            siblings = [_sibling(repo, name) for name in repo.files]
            if "blobs=" not in request.query or not repo.has_sizes:
                siblings = [{"rfilename": name} for name in repo.files]
            info = {
                "id": repo_id,
                "sha": repo.commit,
                "private": False,
                "gated": "auto" if repo.gated else False,
                "siblings": siblings,
                "cardData": {"license": repo.licence} if repo.licence else None,
                "tags": [f"license:{repo.licence}"] if repo.licence else [],
            }
            await self._file(json.dumps(info).encode(), request, writer)

    async def _resolve(self, request: Seen, writer: asyncio.StreamWriter) -> None:
        repo_id, _, rest = request.path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        repo = self._hub.repos.get(repo_id, {}).get(revision)
        if repo is None or name not in repo.files:
            headers = {"X-Error-Code": "EntryNotFound"}
            await self._send(writer, 404, headers, b"Entry not found")
        elif self._at == "cdn":
            await self._file(repo.files[name], request, writer)
        elif repo.gated and request.headers.get("authorization") != f"Bearer {self._hub.token}":
            status = 403 if "authorization" in request.headers else 401
            await self._send(writer, status, {"X-Error-Code": "GatedRepo"}, b"Restricted")
        elif name in repo.lfs:
            location = f"{self._hub.cdn_url}{quote(request.path)}?Signature=secret"
            await self._send(writer, 302, {"Location": location}, b"")
        else:
            await self._file(repo.files[name], request, writer)

    async def _file(self, content: Content, request: Seen, writer: asyncio.StreamWriter) -> None:
        fault = self._hub.take(request.path, self._at, InBody)
        if isinstance(fault, ChangeETag) and fault.content is not None:
            content = fault.content
        size = size_of(content)
        etag = fault.etag if isinstance(fault, ChangeETag) else f'"{sha256_of(content)}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if isinstance(fault, NoValidators):
            headers = {"Last-Modified": fault.last_modified} if fault.last_modified else {}
            etag = fault.last_modified or etag  # what If-Range is compared with
        start, stop = _range(request, size, etag)
        if isinstance(fault, IgnoreRange) or fault == NoValidators(ranges=False):
            start, stop = None, size
        elif isinstance(fault, RefuseRange) and start is not None:
            start, size = size, fault.total if fault.total is not None else size
        if start is not None and start >= size:
            await self._send(writer, 416, headers | {"Content-Range": f"bytes */{size}"}, b"")
            return
        if start is not None:
            if isinstance(fault, ShortRange):
                stop = min(stop, start + fault.most)
            first = start + (fault.by if isinstance(fault, WrongRange) else 0)
            headers["Content-Range"] = f"bytes {first}-{stop - 1}/{size}"
        await self._body(request, writer, content, (start, stop), headers, fault)

    async def _body(
        self,
        request: Seen,
        writer: asyncio.StreamWriter,
        content: Content,
        span: tuple[int | None, int],
        headers: dict[str, str],
        fault: Fault | None,
    ) -> None:
        start, stop = span[0] or 0, span[1]
        extra = fault.by if isinstance(fault, WrongLength) else 0
        is_chunked = isinstance(fault, Endless) or fault == NoValidators(ranges=False)
        if is_chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(stop - start + extra)
        if isinstance(fault, WithHeaders):
            headers |= fault.headers
        _write_head(writer, 200 if span[0] is None else 206, headers)
        if request.method == "HEAD":
            return
        limit = fault.after if isinstance(fault, Truncate | Reset | Stall) else None
        sent = 0
        async for piece in _pieces(content, start, stop, extra, fault):
            piece = piece if limit is None else piece[: limit - sent]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            await writer.drain()
            sent += len(piece)
            self._hub.sent.append((request.path, len(piece)))
            if limit is not None and sent >= limit:
                await self._break_off(writer, fault)
                return
        if is_chunked:
            writer.write(b"0\r\n\r\n")

    async def _break_off(self, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
        if isinstance(fault, Stall):
            await asyncio.sleep(3600)
        if isinstance(fault, Reset):
            # The bytes before it must have left, or the reset takes them along.
            await asyncio.sleep(0.05)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        _write_head(writer, status, headers | {"Content-Length": str(len(body))})
        writer.write(body)
        await writer.drain()


def _write_head(writer: asyncio.StreamWriter, status: int, headers: dict[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} Status", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")


async def _pieces(
    content: Content, start: int, stop: int, extra: int, fault: Fault | None
) -> AsyncIterator[bytes]:
    """The bytes start..stop of a file, with `extra` more or less at the end."""
    stop = stop + min(extra, 0)
    step = fault.piece if isinstance(fault, Slow) else CHUNK
    while start < stop:
        if isinstance(fault, Slow):
            await asyncio.sleep(fault.pause_s)
        piece = bytearray(read(content, start, min(step, stop - start)))
        if isinstance(fault, Corrupt) and start <= fault.at < start + len(piece):
            piece[fault.at - start] ^= 0xFF
        yield bytes(piece)
        start += len(piece)
    if extra > 0:
        yield b"x" * extra
    while isinstance(fault, Endless):
        yield b"x" * CHUNK


def _range(request: Seen, size: int, etag: str) -> tuple[int | None, int]:
    """The bytes asked for; a start of None is the whole file, with status 200."""
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", etag) != etag:
        return None, size
    first, _, last = asked.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, size) if last else size


def _sibling(repo: Repo, name: str) -> dict[str, object]:
    content = repo.files[name]
    sibling: dict[str, object] = {
        "rfilename": name,
        "size": size_of(content),
        "blobId": hashlib.sha1(name.encode("utf-8", "surrogatepass")).hexdigest(),
    }
    if name in repo.lfs:
        lfs = {"sha256": sha256_of(content), "size": size_of(content), "pointerSize": 135}
        sibling["lfs"] = lfs
    return sibling
