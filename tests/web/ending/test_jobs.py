"""Jobs when the server is told to end: none holds it up, and the next server goes on with them."""

import json
import socket
from pathlib import Path

import psutil
import pytest

from tests import processes
from tests.hub.hub_server import HubServer
from tests.serving import KEY, ServerProcess
from tests.store_client import BASE, create, start, wait_until
from tests.web.ending.asked import APIS, ask, ends, load, resume, until, whole


@pytest.mark.parametrize("is_held", [True, False])
def test_an_upload_that_is_under_way(home: Path, is_held: bool) -> None:
    """It is told at once that the server ends, also while an answer is given the time it needs."""
    with ServerProcess(home, "--drain-timeout", "-1") as server:
        load(server)
        (engine,) = server.engines()
        assert create(server, "new")[0] == 201
        answer = ask(server, APIS["chat"], 300, stream=True) if is_held else None
        if answer is not None:
            seen_of_answer = until(answer, APIS["chat"].text)
            engine.suspend()
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        sock.sendall(
            f"POST {BASE}/models/new/upload?file=model.gguf HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n".encode()
            + b"GGUF" + bytes(1000)
        )  # fmt: skip
        wait_until(lambda: server.get("/v1/jobs")["data"])
        server.process.terminate()
        seen = until(sock, b"shutting down")
        assert seen.startswith(b"HTTP/1.1 503") and b"etry-after: 5" in seen
        sock.close()
        if answer is not None:
            resume(engine)
            assert b"[DONE]" in whole(answer, seen_of_answer)[2]
        ends(server)


@pytest.mark.slow
def test_a_job_process_that_is_stopped(tmp_path: Path, hub: HubServer, gguf: Path) -> None:
    """SIGSTOP of a conversion: it is killed, and begun anew by the next server."""
    hub.add_file("tiny.gguf", gguf.read_bytes())
    home = tmp_path / "home"
    with start(home, hub) as server:
        assert create(server, "new")[0] == 201
        body = json.dumps({"url": f"{hub.url}/files/tiny.gguf"})
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            sock.sendall(
                f"POST {BASE}/models/new/download HTTP/1.1\r\n"
                f"Host: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {KEY}\r\n"
                "Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            wait_until(lambda: processes.children("registry.convert", server.process.pid))
            (converting,) = processes.children("registry.convert", server.process.pid)
            converting.suspend()
            server.process.terminate()
            until(sock, b"the job goes on")
            ends(server)
        assert not psutil.wait_procs([converting], timeout=5)[1]
    with start(home, hub) as server:
        wait_until(lambda: server.get("/v1/jobs")["data"][0]["status"] == "done", 60)
