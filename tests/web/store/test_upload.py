"""Tests of store.upload and transport.backpressure: bodies, the disk, clients that leave."""

import asyncio
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.datastructures import Headers

from web.errors import ApiError
from web.settings import WebSettings
from web.store.upload import UploadBody
from web.transport.backpressure import BoundedConnection, BoundedRequest

BOUNDARY = "x7MA4YWxkTrZu0gW"
RAW = "application/octet-stream"
GGUF = b"GGUF" + bytes(1000)
SETTINGS = WebSettings(disk_reserve_bytes=0, stall_limit_s=0.2)

BAD_NAMES = [
    "", ".", "..", "../x.gguf", "a/b.gguf", "/etc/x.gguf", "a\\b.gguf", "C:x.gguf", "~x.gguf",
    ".hidden.gguf", "-x.gguf", "a..b.gguf", "x\n.gguf", "x\0.gguf", "x.gguf\n", "x.gguf ",
    "x" * 300 + ".gguf", "\u2024\u2024/x.gguf", "．．／x.gguf", "ａ.gguf", "%2e%2e%2fx.gguf",
    "x.bin", "x.pt", "x.py", "x", "model.pkl", "x.GGUF", "con.zip",
]  # fmt: skip


def new_request(
    content_type: str, body: bytes | None = None, query: bytes = b"", length: int | None = None
) -> BoundedRequest:
    headers = Headers({"Content-Type": content_type})
    if length is not None:
        headers["Content-Length"] = str(length)

    async def push(*_: Any) -> None: ...

    request = BoundedRequest(
        "POST", "http", "/", query, headers, "", "1.1", {}, send_push_promise=push  # type: ignore
    )  # fmt: skip
    if body is not None:
        request.body.set_result(body)
    return request


def form(**files: bytes) -> bytes:
    escaped = {name.replace("\\", "\\\\"): content for name, content in files.items()}
    parts = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'
        .encode() + content + b"\r\n"
        for name, content in escaped.items()
    )  # fmt: skip
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def receive(request: BoundedRequest, folder: Path) -> list[str]:
    folder.mkdir()
    upload = await UploadBody.begin(request, folder, SETTINGS)
    return await upload.write_to(folder, lambda num_bytes: None)


def multipart(body: bytes) -> BoundedRequest:
    return new_request(f"multipart/form-data; boundary={BOUNDARY}", body)


async def test_all_files_of_a_form_are_written(tmp_path: Path) -> None:
    """By their names, whole, for the user alone."""
    files = {"config.json": b"{}", "empty.txt": b"", "model.safetensors": bytes(range(256)) * 9000}
    files["1_Pooling/config.json"] = b"{}"  # of an embedding model
    files["2_Dense/model.safetensors"] = b"weights"
    names = await receive(multipart(form(**files)), tmp_path / "in")
    assert names == list(files)
    for name, content in files.items():
        assert (tmp_path / "in" / name).read_bytes() == content
        assert (tmp_path / "in" / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("body", "query", "name"),
    [
        (GGUF, b"", "model.gguf"),
        (b"\x40" + bytes(7) + b'{"a":1}', b"", "model.safetensors"),
        (GGUF * 5000, b"file=tiny-Q8_0.gguf", "tiny-Q8_0.gguf"),
    ],
)
async def test_a_raw_body_is_a_file(tmp_path: Path, body: bytes, query: bytes, name: str) -> None:
    """Its name is asked for, or known by its first bytes."""
    assert await receive(new_request(RAW, body, query), tmp_path / "in") == [name]
    assert (tmp_path / "in" / name).read_bytes() == body


def tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
async def test_names_never_lead_elsewhere(tmp_path: Path, name: str) -> None:
    """As the first file or a later one, in a form or in the query: 400, and nothing is written."""
    bad, good = {name: b"x"}, {"config.json": b"{}"}
    before = tree(tmp_path)
    for body in (form(**bad), form(**good, **bad)):
        with pytest.raises(ApiError) as error:
            await receive(multipart(body), tmp_path / "in")
        assert error.value.status == 400
        shutil.rmtree(tmp_path / "in", ignore_errors=True)
        assert tree(tmp_path) == before
    if name:
        with pytest.raises(ApiError, match="cannot be a model's file"):
            await receive(new_request(RAW, GGUF, f"file={quote(name)}".encode()), tmp_path / "in")


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (lambda: multipart(b""), 400),
        (lambda: multipart(f"--{BOUNDARY}--\r\n".encode()), 400),
        (lambda: multipart(form(**{"a.gguf": b"x"})[:-9]), 400),
        (lambda: multipart(form(**{"a.gguf": b"x"}) .replace(b"--\r\n", b"\r\n")), 400),
        (lambda: new_request(RAW, b"GGUF"), 400),
        (lambda: new_request(RAW, b"neither this nor that"), 400),
        (lambda: new_request("application/json", b"{}"), 415),
        (lambda: new_request("", GGUF), 415),
        (lambda: new_request("multipart/form-data", GGUF), 415),
        (lambda: new_request("multipart/form-data; boundary=" + "x" * 71, GGUF), 415),
        (lambda: new_request(RAW, GGUF, length=1 << 60), 507),
        (lambda: new_request(RAW), 408),
    ],
)  # fmt: skip
async def test_bodies_that_are_refused(tmp_path: Path, request_of: Any, status: int) -> None:
    """Each with its status, and no file stays."""
    with pytest.raises(ApiError) as error:
        await receive(request_of(), tmp_path / "in")
    assert error.value.status == status
    assert not any((tmp_path / "in").glob("*"))


async def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    once = form(**{"a.gguf": GGUF})
    with pytest.raises(ApiError, match="Two files"):
        await receive(multipart(once[: -len(BOUNDARY) - 6] + once), tmp_path / "in")


async def test_a_client_that_pauses_or_leaves_leaves_nothing(tmp_path: Path) -> None:
    """A pause over the limit is 408; a cancelled reader, as when a client has gone, just ends."""
    for is_gone in (False, True):
        request = new_request(RAW)
        request.body.append(GGUF)
        task = asyncio.create_task(receive(request, tmp_path / "in"))
        await asyncio.sleep(0.05)
        if is_gone:
            task.cancel()
        with pytest.raises((ApiError, asyncio.CancelledError)) as error:
            await task
        assert is_gone or getattr(error.value, "status", 0) == 408
        assert not (tmp_path / "in").exists()


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    """The kernel refuses to write files beyond this: as good as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_drops_the_upload(tmp_path: Path) -> None:
    """Wherever in the file it happens: 507, and the disk has its bytes back."""
    for size in (3 << 20, (2 << 20) + 1):
        with file_size_limit(2 << 20), pytest.raises(ApiError) as error:
            await receive(multipart(form(**{"a.gguf": bytes(size)})), tmp_path / "in")
        assert error.value.status == 507 and error.value.code == "disk_full"
        assert not (tmp_path / "in").exists()
    assert await receive(multipart(form(**{"a.gguf": bytes(3 << 20)})), tmp_path / "in")


async def test_a_body_is_asked_for_as_fast_as_it_is_read() -> None:
    """With a reader that waits, no more than a mebibyte is taken from the socket."""
    request, num_asked, piece = new_request(RAW), 0, os.urandom(64 << 10)

    async def next_message() -> Any:
        nonlocal num_asked
        num_asked += 1
        return {"type": "http.request", "body": piece, "more_body": num_asked < 100}

    connection = BoundedConnection(None, None)  # type: ignore[arg-type]
    task = asyncio.create_task(connection.handle_messages(request, next_message))
    num_read = 0
    for _ in range(5):
        await asyncio.sleep(0.02)
        assert num_asked == num_read + 16
        for _ in range(8):
            assert await anext(aiter(request.body)) == piece
        num_read += 8
    task.cancel()


async def test_a_body_that_is_awaited_comes_whole() -> None:
    """Whoever wants all of it at once does not wait for room that nobody makes."""
    request, num_asked = new_request(RAW), 0

    async def next_message() -> Any:
        nonlocal num_asked
        num_asked += 1
        if num_asked > 50:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": bytes(64 << 10), "more_body": num_asked < 50}

    connection = BoundedConnection(None, None)  # type: ignore[arg-type]
    task = asyncio.create_task(connection.handle_messages(request, next_message))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        assert len(await request.body) == 50 * (64 << 10)
    task.cancel()
