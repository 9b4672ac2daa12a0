"""An upload on its way to disk: multipart or raw, never held in memory.

`backpressure` lets no more of it through than the disk takes.
"""

import asyncio
import contextlib
import errno
import os
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

from msgspec import json
from quart import Request, Response
from werkzeug.http import parse_options_header

from registry.checkpoint import companions
from web.dialect import MIMOE
from web.errors import ApiError, Failure
from web.settings import WebSettings

from . import multipart
from .multipart import Step

_SUFFIXES = (".gguf", ".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+ ()-]{0,199}")
_LINGER_S = 2.0  # after a refusal
_WRITE_BYTES = 1 << 20  # written at once: handing work to a thread takes a while, too
_SYNC_BYTES = 64 << 20  # sent to the disk meanwhile, so that little is left for the end
_MAX_PIECES = 512  # of these; the system takes 1,024
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UploadBody:
    """A body with files in it, whose first one has a good name. `write_to` reads it."""

    def __init__(self, first: str, rest: AsyncGenerator[Step, None], num_bytes: int | None) -> None:
        self.file = first
        self.num_bytes = num_bytes  # of the whole body, if it says so
        self._rest = rest

    @classmethod
    async def begin(cls, request: Request, folder: Path, settings: WebSettings) -> "UploadBody":
        """Raises ApiError: 400 for a form or name that is not right, 408, 415, 507."""
        check_room(folder, request.content_length or 0, settings)
        steps = _steps(request, _pieces(request, settings))
        async for step in steps:
            assert isinstance(step, str)
            try:
                return cls(file_name(step), steps, request.content_length)
            except ApiError:
                await steps.aclose()
                raise
        raise ApiError(400, "There is no file in the body; send one as a part with a file name.")

    async def write_to(self, folder: Path, report: Callable[[int], None]) -> list[str]:
        """Write all files into an empty folder, telling of the bytes; none stays on an error.

        Raises ApiError as `begin` does. Returns the files' names.
        """
        try:
            async with aclosing(self._rest):
                return await _write_all(self.file, self._rest, folder, report)
        except BaseException as error:  # the client that has left is one
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in _DISK_FULL:
                reason = os.strerror(error.errno)
                raise ApiError(
                    507, f"The upload was dropped: {reason}.", code="disk_full"
                ) from error
            raise

    async def aclose(self) -> None:
        """Stop reading; what the client still sends is dropped."""
        await self._rest.aclose()


def check_room(folder: Path, num_bytes: int, settings: WebSettings) -> None:
    """Raises ApiError 507 when the disk could not take so much."""
    while not folder.exists():  # of a home that is not there before the first model
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if num_bytes + settings.disk_reserve_bytes > free:
        raise ApiError(
            507,
            f"The upload has {num_bytes / 1e6:.1f} MB, and the disk {free / 1e6:.1f} MB left; "
            f"{settings.disk_reserve_bytes / 1e6:.0f} MB of it stay free. Remove a model first.",
            code="disk_full",
        )


def file_name(name: str) -> str:
    """The name that a file gets on disk. Raises ApiError unless it is a plain one of a model.

    Or it is that of a module of an embedding model, such as 1_Pooling/config.json.
    """
    if _NAME.fullmatch(name) and ".." not in name and name.endswith(_SUFFIXES):
        return name
    if companions.is_module_file(name):
        return name
    raise ApiError(
        400,
        f"{name!r} cannot be a model's file: use a plain name that ends in "
        f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}.",
        param="file",
    )


def refuse(request: Request, failure: Failure) -> Response:
    """The reply to a body that is not wanted. The rest of the body is read for a while.

    A connection that is closed while bytes lie unread in it is reset, and a client that is still
    sending then loses the reply. One that has understood the reply closes by itself.
    """
    unwanted, content = request.body, json.encode(failure.body(MIMOE))

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield content
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                async for _ in unwanted:
                    pass

    headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    return Response(pieces(), failure.status, headers | failure.headers)


async def _pieces(request: Request, settings: WebSettings) -> AsyncGenerator[bytes, None]:
    """The raw body, unless it pauses or goes on for too long."""
    now = asyncio.get_running_loop().time
    deadline = now() + settings.upload_timeout_s
    body = aiter(request.body)
    while True:
        limit_s = min(settings.stall_limit_s, deadline - now())
        try:
            # Only the client's time counts: what the disk takes is not in here.
            async with asyncio.timeout(limit_s):
                piece = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise ApiError(408, f"Nothing more of the upload came for {limit_s:.0f} s.") from None
        yield piece


def _steps(request: Request, pieces: AsyncIterator[bytes]) -> AsyncGenerator[Step, None]:
    media_type, options = parse_options_header(request.headers.get("Content-Type"))
    if media_type == "application/octet-stream":
        return _raw(pieces, request.args.get("file"))
    boundary = options.get("boundary", "")
    if media_type != "multipart/form-data" or not boundary.isascii() or not 0 < len(boundary) <= 70:
        raise ApiError(
            415,
            "Send the file as multipart/form-data with a boundary, or as the whole body with "
            "Content-Type: application/octet-stream.",
        )
    return multipart.files(pieces, boundary.encode())


async def _raw(pieces: AsyncIterator[bytes], name: str | None) -> AsyncGenerator[Step, None]:
    """The body is the file; nameless, it says by its first bytes what it is."""
    head = b""
    async for piece in pieces:
        head += piece
        if len(head) >= 9:
            break
    if len(head) < 9:
        raise ApiError(400, f"The body has {len(head)} bytes: that is no model's file.")
    yield _name_by_content(head) if name is None else name
    yield head
    async for piece in pieces:
        yield piece
    yield b""


def _name_by_content(head: bytes) -> str:
    if head.startswith(b"GGUF"):
        return "model.gguf"
    if head[8:9] == b"{":  # after the eight bytes of its length, a header in JSON
        return "model.safetensors"
    raise ApiError(400, "The body is neither GGUF nor safetensors; for other files say ?file=NAME.")


async def _write_all(
    first: str, steps: AsyncIterator[Step], folder: Path, report: Callable[[int], None]
) -> list[str]:
    names = [first]
    file: _File | None = _File(folder / first)
    num_bytes = 0
    try:
        async for step in steps:
            if isinstance(step, str):
                if step in names:
                    raise ApiError(400, f"Two files are named '{step}'.")
                names.append(file_name(step))
                file = _File(folder / step)
            elif file is not None and step:
                await file.write(step)
                num_bytes += len(step)
                report(num_bytes)
            elif file is not None:
                await file.finish()
                file = None
    finally:
        if file is not None:
            await file.drop()
    return names


class _File:
    """A file that is being written, by a thread, while the next mebibyte arrives."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._held: list[bytes | memoryview] = []
        self._num_held = 0
        self._num_unsynced = 0
        self._writing: asyncio.Future[None] | None = None
        self._syncing: asyncio.Future[None] | None = None

    async def write(self, data: bytes | memoryview) -> None:
        self._held.append(data)
        self._num_held += len(data)
        if self._num_held >= _WRITE_BYTES or len(self._held) >= _MAX_PIECES:
            await self._flush()

    async def finish(self) -> None:
        """All is on the disk when this returns."""
        await self._flush()
        await _ended(self._writing)
        await _ended(self._syncing)
        self._sync()
        await _ended(self._syncing)
        os.close(self._descriptor)

    async def drop(self) -> None:
        """Close the file, after the threads that are still at work on it."""
        for work in (self._writing, self._syncing):
            if work is not None:
                await asyncio.wait({work})
                with contextlib.suppress(OSError):
                    work.result()
        os.close(self._descriptor)

    async def _flush(self) -> None:
        await _ended(self._writing)
        if self._num_unsynced >= _SYNC_BYTES and (self._syncing is None or self._syncing.done()):
            await _ended(self._syncing)
            self._sync()
        self._num_unsynced += self._num_held
        pieces, self._held, self._num_held = self._held, [], 0
        if pieces:
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, pieces))

    def _sync(self) -> None:
        self._num_unsynced = 0
        self._syncing = asyncio.ensure_future(asyncio.to_thread(os.fsync, self._descriptor))

    def _write(self, pieces: list[bytes | memoryview]) -> None:
        num_bytes = os.writev(self._descriptor, pieces)
        if num_bytes < sum(len(piece) for piece in pieces):
            left = memoryview(b"".join(pieces))[num_bytes:]
            while left:
                left = left[os.write(self._descriptor, left) :]


async def _ended(work: asyncio.Future[None] | None) -> None:
    """What a thread does cannot be cancelled; what it raises is raised here."""
    if work is not None:
        await asyncio.shield(work)
