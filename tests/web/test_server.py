"""Tests of web.server from outside: start, drain, end, and raw bytes on the port."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import httpx
import psutil
import pytest
from openai import APIError, OpenAI

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ROOT, ServerProcess, chat_request, link_model, read_all
from web.server import Listener
from web.transport import hypercorn_patches

HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    return tmp_path / "home"


def begin_stream(server: ServerProcess, max_tokens: int) -> socket.socket:
    """A raw stream that has shown its first content."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": max_tokens,
        "temperature": 0,  # drawn at random it might end by itself
        "stream": True,
    }
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    sock.sendall(chat_request(body, Host=f"127.0.0.1:{server.port}"))
    seen = b""
    while b'"content":"' not in seen.replace(b'"content":""', b""):
        piece = sock.recv(65536)
        assert piece, f"the stream ended without content: {seen!r}"
        seen += piece
    return sock


def test_the_patches_fit_this_hypercorn() -> None:
    """The version is pinned: what replaces its internals was written for these."""
    assert version("hypercorn").rsplit(".", 1)[0] == hypercorn_patches.FITS


def test_the_web_process_never_maps_mlx(server: ServerProcess) -> None:
    """Neither MLX nor numpy, transformers or tokenizers is in its memory map."""
    httpx.post(
        server.url + "/v1/chat/completions",
        headers=HEADERS,
        timeout=30,
        json={"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1},
    )
    if not Path("/proc").exists():
        pytest.skip("needs /proc")
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert not any(name in maps for name in ("libmlx", "numpy", "tokenizers", "transformers"))


def test_sigterm_lets_a_stream_finish(home: Path) -> None:
    """Readiness falls at once, new work is refused, the running stream ends well, exit is 0."""
    with ServerProcess(home) as server:
        sock = begin_stream(server, max_tokens=1500)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert httpx.get(server.url + "/ready").status_code == 503
        assert httpx.get(server.url + "/health").status_code == 200
        refused = httpx.post(
            server.url + "/v1/chat/completions",
            headers=HEADERS,
            json={"model": "tiny", "messages": [{"role": "user", "content": "x"}]},
        )
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        with sock:
            assert b"data: [DONE]" in read_all(sock)
        children = server.children()
        assert server.process.wait(20) == 0
        assert not psutil.wait_procs(children, timeout=5)[1]


def test_a_stream_that_outlasts_the_drain_ends_with_an_error(home: Path) -> None:
    """Past the limit a stream gets an error event, not just silence."""
    with ServerProcess(home, "--drain-timeout", "1s") as server:
        with OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
            stream = client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "x"}], stream=True
            )
            with pytest.raises(APIError, match="shutting down"):
                for number, _ in enumerate(stream):
                    if number == 2:
                        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_a_second_signal_ends_at_once(home: Path) -> None:
    """Who is in a hurry sends SIGINT twice: the long drain is cut short, still exit 0."""
    with ServerProcess(home, "--drain-timeout", "60s") as server:
        sock = begin_stream(server, max_tokens=8000)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGINT)
        with sock:
            assert b"event: error" in read_all(sock)
        assert server.process.wait(10) == 0


def test_kill_9_of_the_server_leaves_no_process(home: Path) -> None:
    """Engines and text workers end with their parent, however it ends."""
    with ServerProcess(home) as server:
        with begin_stream(server, max_tokens=8000):
            children = server.children()
            assert len(children) == 3  # an engine and two text workers
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
        assert not psutil.wait_procs(children, timeout=5)[1]


def test_the_default_key_serves_loopback_only(tmp_path: Path) -> None:
    """A bind to all addresses with the documented key does not even start."""
    command = [sys.executable, "-m", "scripts.cli", "--home", str(tmp_path), "serve"]
    for host in ("0.0.0.0", "::"):
        result = subprocess.run(
            [*command, "--host", host, "--port", "0"],
            cwd=ROOT, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert result.returncode != 0 and "--api-key" in result.stderr


def test_a_port_in_use_says_so(server: ServerProcess, tmp_path: Path) -> None:
    """Who holds it, and a failing exit, not a traceback."""
    result = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "--home", str(tmp_path), "serve",
         "--port", str(server.port)],
        cwd=ROOT, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert result.returncode != 0
    assert f"127.0.0.1:{server.port}: the port is held by" in result.stderr
    assert f"(pid {server.process.pid})" in result.stderr and "Traceback" not in result.stderr


def host(server: ServerProcess) -> bytes:
    return f"Host: 127.0.0.1:{server.port}\r\n".encode()


def test_http2_without_tls_is_refused(server: ServerProcess) -> None:
    """Neither the preface nor an upgrade switches the protocol."""
    preface = server.send_raw(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    )
    assert not preface.startswith(b"\x00\x00") and b" 101 " not in preface
    upgrade = server.send_raw(
        b"GET /health HTTP/1.1\r\n"
        + host(server)
        + b"Connection: Upgrade, HTTP2-Settings, close\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: close\r\n\r\n"
    )
    assert upgrade.startswith(b"HTTP/1.1 200")


def test_headers_are_bounded(server: ServerProcess) -> None:
    """Too many bytes or too many headers are 431 or a closed connection, never served."""
    for flood in (b"X-A: " + b"a" * 40_000 + b"\r\n", b"X-A: a\r\n" * 150):
        answer = server.send_raw(
            b"GET /health HTTP/1.1\r\n" + host(server) + b"Connection: close\r\n" + flood + b"\r\n"
        )
        assert answer.split(b" ")[1] in (b"431", b"400")


def test_a_chunked_body_is_counted_as_it_arrives(server: ServerProcess) -> None:
    """A body without a length is cut at the limit, not read into memory."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\n" + host(server)
            + b"Authorization: Bearer 1234\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )  # fmt: skip
        piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            for _ in range(40):
                sock.sendall(piece)
        except OSError:
            pass
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""
    assert psutil.Process(server.process.pid).memory_info().rss < 200 << 20


BROKEN_BODIES = {
    "nothing": b"",
    "text": b"hello",
    "cut": b'{"model":"tiny"',
    "deep": b"[" * 100_000,
    "deep closed": b'{"model":"tiny","messages":[],"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "NaN": b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
    "Infinity": b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"top_p":Infinity}',
    "1e400": b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"temperature":1e400}',
    "huge int": b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"max_tokens":'
    + b"9" * 5000 + b"}",
    "bad utf-8": b'{"model":"tiny","messages":[{"role":"user","content":"\xff"}]}',
    "bad utf-8 unknown": b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"y":"\xff"}',
    "utf-16": '{"model":"tiny"}'.encode("utf-16"),
    "surrogate": b'{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}]}',
    "surrogate unknown":
    b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"y":"\\ud800"}',
    "array": b"[1,2]",
    "null": b"null",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_broken_bodies_are_a_json_400(server: ServerProcess, name: str) -> None:
    """Whatever is wrong with the JSON, the answer is JSON, says 400, and comes fast."""
    for base in ("/v1", "/mimik-ai/openai/v1"):
        response = httpx.post(
            f"{server.url}{base}/chat/completions",
            content=BROKEN_BODIES[name],
            headers=HEADERS | {"Content-Type": "application/json"},
        )
        assert response.status_code == 400, response.text
        assert response.json()["error"]["message"]
        assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "",
     "application/json; charset=utf-16"],
)  # fmt: skip
def test_only_json_is_read(server: ServerProcess, content_type: str) -> None:
    """A simple request of a web page, which needs no preflight, is 415."""
    response = httpx.post(
        server.url + "/v1/chat/completions",
        content=json.dumps({"model": "tiny"}),
        headers=HEADERS | ({"Content-Type": content_type} if content_type else {}),
    )
    assert response.status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/v1/nowhere", 404), ("PUT", "/v1/chat/completions", 405)],
)
def test_every_error_is_json(server: ServerProcess, method: str, path: str, status: int) -> None:
    """Also the framework's own errors."""
    response = httpx.request(method, server.url + path, headers=HEADERS)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    mimoe = httpx.request(method, server.url + "/mimik-ai/openai/v1/nowhere", headers=HEADERS)
    assert mimoe.json()["error"]["code"] == 404


def test_metrics_count_rows(server: ServerProcess) -> None:
    """Prometheus text, behind the key."""
    assert httpx.get(server.url + "/metrics").status_code == 401
    with begin_stream(server, 2):
        pass
    text = httpx.get(server.url + "/metrics", headers=HEADERS).text
    assert "mlx_edge_engine_rows{" in text
    assert re.search(r'^mlx_edge_requests_total\{model="tiny",outcome="\w+"\} ', text, re.MULTILINE)


def test_a_method_that_is_not_there_says_which_are(server: ServerProcess) -> None:
    """405 with Allow (RFC 9110, 15.5.6)."""
    response = httpx.put(server.url + "/v1/chat/completions", headers=HEADERS)
    assert response.status_code == 405 and "POST" in response.headers["allow"]


@pytest.mark.parametrize(("key", "status"), [(KEY, 404), ("wrong", 401)])
def test_a_socket_that_nobody_serves_is_refused(
    server: ServerProcess, key: str, status: int
) -> None:
    """With the key 404, without it 401: JSON with a request id, and no traceback in the log."""
    before = server.log
    upgrade = HEADERS | {
        "Authorization": f"Bearer {key}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    response = httpx.get(server.url + "/v1/nowhere", headers=upgrade)
    assert response.status_code == status
    assert response.json()["error"]["message"]
    assert response.headers["x-request-id"].startswith("req_")
    assert "Traceback" not in server.log[len(before) :]


def test_a_broken_target_is_a_400(server: ServerProcess) -> None:
    """With the right key and a target that is no URL."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(
            b"GET http://[/ HTTP/1.1\r\n" + host(server)
            + b"Authorization: Bearer 1234\r\nConnection: close\r\n\r\n"
        )  # fmt: skip
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 400") and b'"error"' in answer


def test_ready_means_that_a_model_can_answer(server: ServerProcess) -> None:
    """The built-in model or a registered one will do."""
    assert httpx.get(server.url + "/ready").json() == {"status": "ready"}


@pytest.mark.slow
@pytest.mark.parametrize("is_read", [True, False])
def test_short_connections_in_a_row_are_all_served(tmp_path: Path, is_read: bool) -> None:
    """Four times as many as there are places, each closed by its client: `curl` in a loop."""
    with ServerProcess(tmp_path / "home") as server:
        for _ in range(2000):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
                sock.sendall(b"GET /health HTTP/1.1\r\n" + host(server) + b"\r\n")
                assert not is_read or sock.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.get("/health") == {"status": "ok"}
        assert "Traceback" not in server.log


def test_idle_clients_do_not_delay_the_end(home: Path) -> None:
    """They are let go at once, though they might have waited for 75 s."""
    with ServerProcess(home) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
            sock.sendall(b"GET /health HTTP/1.1\r\n" + host(server) + b"\r\n")
            assert b"keep-alive: timeout=75" in sock.recv(1000)
            server.process.send_signal(signal.SIGTERM)
            assert sock.recv(1000) == b""
            assert server.process.wait(20) == 0


def test_clients_beyond_the_limit_do_not_take_the_server_down(tmp_path: Path) -> None:
    """Few file descriptors and many half-open sockets: those inside the limit are served."""
    with ServerProcess(tmp_path / "home", max_files=256) as server:
        sockets = []
        for _ in range(400):
            with contextlib.suppress(OSError):
                sockets.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        for sock in sockets:
            sock.close()
        for _ in range(50):  # until the server has seen that they left
            with contextlib.suppress(httpx.TransportError):
                assert httpx.get(server.url + "/health", timeout=20).status_code == 200
                break
            time.sleep(0.1)
        else:
            pytest.fail("the server does not answer any more")
        assert len(server.log) < 10_000


def test_a_listener_without_a_free_descriptor_says_so_once() -> None:
    """asyncio tries 32 times in a row, and logs each error that it meets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Listener() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        os.close(lowest := os.dup(client.fileno()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            for _ in range(2):  # now, and when asyncio has waited for a second
                with pytest.raises(OSError, match="Too many open files"):
                    listener.accept()
                with pytest.raises(BlockingIOError):
                    listener.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        listener.accept()[0].close()
