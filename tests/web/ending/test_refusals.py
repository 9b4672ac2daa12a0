"""What a draining server refuses, in every dialect, and what it still tells."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import ServerProcess
from tests.store_client import BASE as STORE
from tests.web.ending.asked import APIS, HEADERS, MIMOE, ask, ends, load, resume, terminate, until

CODES: dict[str, Any] = {"/v1": "draining", MIMOE: 503}


@pytest.fixture
def draining(home: Path) -> Iterator[ServerProcess]:
    """Until the end of the test: its one answer does not come further."""
    with ServerProcess(home, "--drain-timeout", "-1") as server:
        load(server)
        with ask(server, APIS["chat"], 300, stream=True) as sock:
            until(sock, APIS["chat"].text)
            (engine,) = server.engines()
            engine.suspend()
            terminate(server)
            yield server
            resume(engine)
            until(sock, b"[DONE]")
        ends(server)


def test_new_work_is_refused(draining: ServerProcess) -> None:
    """503 and JSON that say when to come again: answers, loads, and what begins a job."""
    work: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", api.path, api.body | {"stream": stream, api.limit: 16})
        for api in APIS.values()
        for stream in (False, True)
    ]
    work += [("POST", f"{base}/models", {"model": "tiny"}) for base in ("/v1", MIMOE)]
    work += [
        ("POST", "/v1/responses", APIS["responses"].body | {"background": True}),
        ("PUT", f"{STORE}/models", {"id": "tiny", "action": "load"}),
        ("POST", f"{STORE}/hf/models/pull", {"repo": "a/b"}),
    ]
    for method, path, body in work:
        reply = httpx.request(method, draining.url + path, json=body, headers=HEADERS)
        assert reply.status_code == 503, (path, reply.text)
        assert int(reply.headers["retry-after"]) > 0, path
        assert "shutting down" in str(reply.json()["error"]), path
    file = {"file": ("model.gguf", b"GGUF" + bytes(1000))}
    created = {"id": "new", "version": "1", "kind": "llm"}
    url = f"{draining.url}{STORE}/models"
    assert httpx.post(url, json=created, headers=HEADERS).status_code == 201
    for path, sent in (
        ("upload", {"files": file}),
        ("download", {"json": {"url": "http://127.0.0.1:1/a.gguf"}}),
    ):
        reply = httpx.post(f"{url}/new/{path}", headers=HEADERS, **sent)
        assert reply.status_code == 503 and int(reply.headers["retry-after"]) > 0, reply.text


def test_what_is_still_told(draining: ServerProcess) -> None:
    """It lives, it is not ready, and supervisors and people may look."""
    assert httpx.get(f"{draining.url}/health").status_code == 200
    reply = httpx.get(f"{draining.url}/ready")
    assert reply.status_code == 503 and reply.json()["status"] == "draining"
    assert int(reply.headers["retry-after"]) > 0
    for path in ("/metrics", "/v1/models", "/v1/jobs", f"{STORE}/models"):
        assert httpx.get(draining.url + path, headers=HEADERS).status_code == 200, path
