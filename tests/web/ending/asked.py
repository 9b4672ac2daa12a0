"""What a server that ends may be busy with: every kind of answer, on a connection of its own."""

import json
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from tests.serving import KEY, ServerProcess, read_all
from tests.store_client import wait_until

HEADERS = {"Authorization": f"Bearer {KEY}"}
MIMOE = "/mimik-ai/openai/v1"
_MESSAGES = [{"role": "user", "content": "hi"}]
# Drawn at random an answer might end by itself.
_CHAT: dict[str, Any] = {"model": "tiny", "messages": _MESSAGES, "temperature": 0}


@dataclass(frozen=True)
class Api:
    """How one is asked, and what its streams look like."""

    path: str
    body: dict[str, Any]
    limit: str  # the parameter with the length of an answer
    text: bytes  # in an event that has some
    end: bytes  # in a stream that went well
    failure: bytes  # in the last event of one that did not
    last: bytes = b""  # behind either, where the wire has that


APIS = {
    "chat": Api(
        "/v1/chat/completions", _CHAT, "max_tokens", b'"delta":{"content":"', b"data: [DONE]",
        b'event: error\ndata: {"error":{',
    ),
    "mimOE's chat": Api(
        f"{MIMOE}/chat/completions", _CHAT, "max_tokens", b'"delta":{"content":"',
        b"data: [DONE]", b'event: error\ndata: {"error":{"code":503',
    ),
    "completions": Api(
        "/v1/completions", {"model": "tiny", "prompt": "hi", "temperature": 0}, "max_tokens",
        b'"text":"', b"data: [DONE]", b'event: error\ndata: {"error":{',
    ),
    "messages": Api(
        "/v1/messages", _CHAT, "max_tokens", b"text_delta", b"event: message_stop",
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"',
    ),
    "responses": Api(
        "/v1/responses", {"model": "tiny", "input": "hi", "temperature": 0}, "max_output_tokens",
        b"event: response.output_text.delta", b"event: response.incomplete",
        b"event: response.failed", b"data: [DONE]\n\n",
    ),
}  # fmt: skip


def post(
    server: ServerProcess, path: str, body: dict[str, Any], accept: str = "*/*"
) -> socket.socket:
    """A request that is on its way, on a connection that ends with its answer."""
    payload = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Authorization: Bearer {KEY}",
        "Content-Type: application/json", f"Content-Length: {len(payload)}", f"Accept: {accept}",
        "Connection: close",
    ]  # fmt: skip
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
    return sock


def ask(server: ServerProcess, api: Api, num_tokens: int, **more: Any) -> socket.socket:
    return post(server, api.path, api.body | {api.limit: num_tokens} | more)


def until(sock: socket.socket, words: bytes) -> bytes:
    """What comes, up to the piece that has these words in it."""
    seen = b""
    while words not in seen:
        piece = sock.recv(65536)
        assert piece, f"it ended without {words!r}: {seen[-1000:]!r}"
        seen += piece
    return seen


def whole(sock: socket.socket, seen: bytes = b"") -> tuple[int, httpx.Headers, bytes]:
    """Status, headers and body of an answer, which must not be torn."""
    with sock:
        raw = seen + read_all(sock)
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = httpx.Headers(
        [(name, value) for name, _, value in (x.partition(": ") for x in lines)]
    )
    if headers.get("transfer-encoding") == "chunked":
        assert body.endswith(b"0\r\n\r\n"), body[-1000:]
        body = _dechunked(body)
    else:
        assert len(body) == int(headers["content-length"])
    return int(status.split(" ")[1]), headers, body


def _dechunked(body: bytes) -> bytes:
    pieces = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        pieces, body = pieces + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return pieces


def num_requests(server: ServerProcess) -> int:
    """Those that are counted, of all models."""
    keys = ("num_running", "num_waiting")
    return sum(model.get(key, 0) for model in server.get("/v1/models")["data"] for key in keys)


def load(server: ServerProcess, model: str = "tiny") -> None:
    url = f"{server.url}/v1/models"
    reply = httpx.post(url, json={"model": model}, headers=HEADERS, timeout=60)
    assert reply.status_code == 200, reply.text


def terminate(server: ServerProcess) -> None:
    """SIGTERM, and wait until the server drains, or is gone."""
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not _is_ready(server))


def resume(child: psutil.Process) -> None:
    """One that was suspended, if it is still there."""
    with suppress(psutil.NoSuchProcess):
        child.resume()


def _is_ready(server: ServerProcess) -> bool:
    try:
        return httpx.get(f"{server.url}/ready").status_code == 200
    except httpx.TransportError:
        return False


def ends(server: ServerProcess) -> None:
    """With status 0, nothing to complain about, and nobody left behind."""
    assert server.process.wait(60) == 0
    if "Traceback" in server.log or "ERROR" in server.log:
        pytest.fail(server.log)  # which is told as a whole
