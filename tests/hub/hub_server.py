"""A small hub and its CDN on loopback, for tests: serves repositories, misbehaves on command.

    with HubServer() as hub:                        # runs in a thread of its own, so it serves
        commit = hub.add_repo("org/tiny", {         # sync tests, async tests and subprocesses
            "config.json": b"{}",
            "model.safetensors": Path("model.safetensors"),    # bytes, or a file to send
        }, licence="mit")
        url = hub.add_file("a.gguf", b"GGUF...")    # a plain URL, no repository
        hub.misbehave("model.safetensors", Truncate(after=1000), times=1)
        ...
        assert hub.requests[-1].headers["range"] == "bytes=1000-"

- `hub.url` (http://127.0.0.1:PORT) is what HF_ENDPOINT takes. As with the real one, weights (and
  whatever `lfs` names) have a sha256 and are redirected to `hub.cdn_url` (http://localhost:OTHER),
  another host. Both must be in `allowed_private_hosts`: `hub.hosts`.
- `add_repo` again with the same name is a new commit; "main" moves on, old commits stay.
  `gated=True` refuses the files to all but `Authorization: Bearer {hub.token}`.
- A fault applies to the next `times` requests (None: all) whose path ends with the given text, in
  the order given. Status and Redirect strike at the first hop unless `on="cdn"`; the others where
  the body is sent. Metadata is a body as well: `/api/models/REPO`, or `/revision/main` behind it.
- `hub.requests` are all requests in order; `hub.bytes_sent(name)` counts body bytes per file.
- `Slow` and `Stall` leave time to cancel or kill; `hub.wait_for(name)` returns when a body of that
  name has been begun, and a Stall ends with the server at the latest.
"""

import asyncio
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from urllib.parse import quote, unquote

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

__all__ = [
    "ChangeETag", "Corrupt", "Endless", "Fault", "HubServer", "IgnoreRange", "NoValidators",
    "Redirect", "RefuseRange", "Reset", "Seen", "ShortRange", "Slow", "Stall", "Status",
    "Truncate", "WithHeaders", "WrongLength", "WrongRange",
]  # fmt: skip

Content = bytes | Path
LFS_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".onnx")


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    at: str  # "hub" or "cdn"
    method: str
    path: str  # decoded, without the query
    query: str
    headers: dict[str, str]  # names in lower case


@dataclass
class _Planned:
    suffix: str
    fault: Fault
    times: int | None
    on: str | None


@dataclass(frozen=True)
class _Repo:
    files: dict[str, Content]
    commit: str
    licence: str | None
    gated: bool
    lfs: frozenset[str]


class HubServer:
    """Use as a context manager. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.token = "hf_sesame"
        self.url = self.cdn_url = ""
        self.hosts = ("127.0.0.1", "localhost")
        self._sent: list[tuple[str, int]] = []
        self._planned: list[_Planned] = []
        self._repos: dict[str, dict[str, _Repo]] = {}
        self._files: dict[str, Content] = {}
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)

    def __enter__(self) -> "HubServer":
        self._thread.start()
        if not self._started.wait(10):
            raise AssertionError("the hub did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, Content],
        *,
        licence: str | None = None,
        gated: bool = False,
        lfs: tuple[str, ...] = (),
    ) -> str:
        """Add a commit to a repository, whatever its files are called; returns the commit."""
        revisions = self._repos.setdefault(repo_id, {})
        commit = hashlib.sha1(f"{repo_id}{len(revisions)}".encode()).hexdigest()
        named = frozenset(name for name in files if name.endswith(LFS_SUFFIXES) or name in lfs)
        repo = _Repo(dict(files), commit, licence, gated, named)
        revisions[commit] = revisions["main"] = repo
        return commit

    def add_folder(self, repo_id: str, folder: Path, *, licence: str | None = None) -> str:
        """A repository of all files of a folder."""
        paths = (path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): path for path in paths}
        return self.add_repo(repo_id, files, licence=licence)

    def add_file(self, name: str, content: Content) -> str:
        """A file without a repository; returns its URL."""
        self._files[f"/files/{name}"] = content
        return f"{self.url}/files/{quote(name)}"

    def misbehave(
        self, suffix: str, fault: Fault, times: int | None = None, on: str | None = None
    ) -> None:
        """Plan a fault for paths that end with `suffix`; on "hub" or "cdn" only, if given."""
        self._planned.append(_Planned(suffix, fault, times, on))

    def behave(self) -> None:
        """Forget all planned faults."""
        self._planned.clear()

    def bytes_sent(self, suffix: str) -> int:
        """Body bytes handed to the socket for paths that end so."""
        return sum(size for path, size in list(self._sent) if path.endswith(suffix))

    def wait_for(self, suffix: str, num_bytes: int = 1, timeout_s: float = 10) -> None:
        """Block until so many body bytes were sent for a path that ends so."""
        deadline = time.monotonic() + timeout_s
        while self.bytes_sent(suffix) < num_bytes:
            if time.monotonic() > deadline:
                raise AssertionError(f"no request for {suffix}: {self.requests}")
            time.sleep(0.005)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        servers = []
        for at in ("hub", "cdn"):
            server = await asyncio.start_server(_Handler(self, at), "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            if at == "hub":
                self.url = f"http://127.0.0.1:{port}"
            else:
                self.cdn_url = f"http://localhost:{port}"
            servers.append(server)
        self._started.set()
        await self._stopped.wait()
        for server in servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _take(self, path: str, at: str, kinds: UnionType | tuple[type, ...]) -> Fault | None:
        """The next fault of these kinds that is planned for a path."""
        for planned in self._planned:
            if (
                isinstance(planned.fault, kinds)
                and path.endswith(planned.suffix)
                and planned.on in (None, at)
                and planned.times != 0
            ):
                if planned.times is not None:
                    planned.times -= 1
                return planned.fault
        return None


class _Handler:
    """Answers the connections of one port, one request each."""

    def __init__(self, hub: HubServer, at: str) -> None:
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
        match self._hub._take(request.path, self._at, (Status, Redirect)):
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
        elif path in self._hub._files:
            await self._file(self._hub._files[path], request, writer)
        elif "/resolve/" in path:
            await self._resolve(request, writer)
        else:
            await self._send(writer, 404, {}, b"Not Found")

    async def _metadata(self, path: str, request: Seen, writer: asyncio.StreamWriter) -> None:
        repo_id, _, revision = path.partition("/revision/")
        revisions = self._hub._repos.get(repo_id)
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
            if "blobs=" not in request.query:
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
        repo = self._hub._repos.get(repo_id, {}).get(revision)
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
        fault = self._hub._take(request.path, self._at, InBody)
        if isinstance(fault, ChangeETag) and fault.content is not None:
            content = fault.content
        size = _size(content)
        etag = fault.etag if isinstance(fault, ChangeETag) else f'"{_sha256(content)}"'
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
            self._hub._sent.append((request.path, len(piece)))
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
        piece = bytearray(_read(content, start, min(step, stop - start)))
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


def _sibling(repo: _Repo, name: str) -> dict[str, object]:
    content = repo.files[name]
    sibling: dict[str, object] = {
        "rfilename": name,
        "size": _size(content),
        "blobId": hashlib.sha1(name.encode("utf-8", "surrogatepass")).hexdigest(),
    }
    if name in repo.lfs:
        lfs = {"sha256": _sha256(content), "size": _size(content), "pointerSize": 135}
        sibling["lfs"] = lfs
    return sibling


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _read(content: Content, start: int, size: int) -> bytes:
    if isinstance(content, bytes):
        return content[start : start + size]
    with content.open("rb") as file:
        file.seek(start)
        return file.read(size)


_hashes: dict[tuple[str, int, int], str] = {}


def _sha256(content: Content) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    stat = content.stat()
    key = (str(content), stat.st_mtime_ns, stat.st_size)
    if key not in _hashes:
        with content.open("rb") as file:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]
