"""Tests of api.jobs from outside: list, show, follow, cancel; and a server that stops meanwhile."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub.hub_server import HubServer, Slow
from tests.serving import ServerProcess
from tests.sockets import opened
from tests.store_client import BASE, HEADERS, start, wait_until

BASES = ("/v1", "/mimik-ai/openai/v1")
CONTENT = b"GGUF" + bytes(400_000)  # never a model, but it takes its time to arrive


def begin_download(server: ServerProcess, hub: HubServer, model_id: str) -> str:
    """A job that runs for some seconds; its id."""
    url = hub.add_file(f"{model_id}.gguf", CONTENT)
    hub.misbehave(f"{model_id}.gguf", Slow(0.1, 10_000), times=1)
    body = {"id": model_id, "version": "1.0.0", "kind": "llm"}
    httpx.post(f"{server.url}{BASE}/models", json=body, headers=HEADERS).raise_for_status()
    path = f"{server.url}{BASE}/models/{model_id}/download"
    with httpx.stream("POST", path, json={"url": url}, headers=HEADERS) as response:
        next(response.iter_bytes())
    job: str = httpx.get(f"{server.url}{BASE}/models/{model_id}").json()["job"]
    return job


def follow(server: ServerProcess, base: str, job: str) -> Iterator[Any]:
    headers = HEADERS | {"Accept": "text/event-stream"}
    path = f"{server.url}{base}/jobs/{job}"
    with httpx.stream("GET", path, headers=headers, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


@pytest.mark.parametrize("base", BASES)
def test_a_job_is_listed_followed_and_cancelled(
    store: ServerProcess, hub: HubServer, base: str
) -> None:
    """Bytes grow while it runs; cancelled, it says so to its follower, and stays in the list."""
    model_id = f"model{len(base)}"
    job = begin_download(store, hub, model_id)
    shown = store.get(f"{base}/jobs/{job}")
    assert shown in [shown, *store.get(f"{base}/jobs")["data"]]
    assert {"id": job, "object": "job", "model": model_id, "action": "download",
            "status": "running", "error": None}.items() <= shown.items()  # fmt: skip
    states = []
    for state in follow(store, base, job):
        states.append(state)
        if len(states) == 4:
            reply = httpx.delete(f"{store.url}{base}/jobs/{job}", headers=HEADERS)
            assert reply.status_code == 200 and reply.json()["status"] == "cancelled"
    done = [state["bytes_done"] for state in states]
    assert done == sorted(done) and done[0] < done[-1] <= len(CONTENT)
    assert states[-1]["status"] == "cancelled" and states[-1]["finished_at"]
    assert states[-1] in store.get(f"{base}/jobs")["data"]
    again = httpx.delete(f"{store.url}{base}/jobs/{job}", headers=HEADERS)
    assert again.status_code == 200 and again.json()["status"] == "cancelled"
    assert list(follow(store, base, job)) == [states[-1]]


def test_the_waiting_client_of_a_cancelled_download_is_told(
    store: ServerProcess, hub: HubServer
) -> None:
    """One bare line; and the download can be started again, from where it was."""
    job = begin_download(store, hub, "cancelled")
    path = f"{store.url}{BASE}/models/cancelled/download"
    body = {"url": f"{hub.url}/files/cancelled.gguf"}
    with httpx.stream("POST", path, json=body, headers=HEADERS) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        httpx.delete(f"{store.url}/v1/jobs/{job}", headers=HEADERS)
        *_, last = [line for line in lines if line]
    assert json.loads(last) == {"error": {"code": 409, "message": "The job was cancelled."}}
    sent = hub.bytes_sent("cancelled.gguf")
    reply = httpx.post(path, json=body, headers=HEADERS, timeout=60)
    assert '"error"' in reply.text  # it is no model
    assert hub.bytes_sent("cancelled.gguf") - sent < len(CONTENT)


@pytest.mark.parametrize("base", BASES)
def test_unknown_jobs_and_missing_keys(store: ServerProcess, base: str) -> None:
    """404 in the dialect's shape; nothing without the key."""
    for method in ("GET", "DELETE"):
        reply = httpx.request(method, f"{store.url}{base}/jobs/nope", headers=HEADERS)
        assert reply.status_code == 404 and "nope" in reply.json()["error"]["message"]
        assert httpx.request(method, f"{store.url}{base}/jobs/nope").status_code == 401
    assert httpx.get(f"{store.url}{base}/jobs").status_code == 401
    reply = httpx.get(
        f"{store.url}{base}/jobs/nope", headers=HEADERS | {"Accept": "text/event-stream"}
    )
    assert reply.status_code == 404


def test_a_server_that_stops_tells_its_followers(tmp_path: Path, hub: HubServer) -> None:
    """SIGTERM in mid-download: streams end, the exit is quick and clean, the next one resumes."""
    with start(tmp_path / "home", hub) as first:
        job = begin_download(first, hub, "stopped")
        path = f"{first.url}{BASE}/models/stopped/download"
        body = {"url": f"{hub.url}/files/stopped.gguf"}
        with httpx.stream("POST", path, json=body, headers=HEADERS, timeout=30) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data: ")
            began = time.monotonic()
            first.process.send_signal(signal.SIGTERM)
            *_, last = [line for line in lines if line]
        assert json.loads(last)["error"]["code"] == 503
        assert first.process.wait(20) == 0 and time.monotonic() - began < 15
    with start(tmp_path / "home", hub) as second:
        wait_until(lambda: second.get(f"/v1/jobs/{job}")["status"] == "failed")
        assert httpx.get(f"{second.url}{BASE}/models/stopped").json()["readyToUse"] is False


@pytest.mark.parametrize("base", BASES)
async def test_a_socket_tells_of_every_job(store: ServerProcess, hub: HubServer, base: str) -> None:
    """Those that run, those that begin later, their bytes, and their end; a message ends one."""
    early = await asyncio.to_thread(begin_download, store, hub, f"early{len(base)}")
    async with opened(store, base + "/jobs") as socket:
        late = await asyncio.to_thread(begin_download, store, hub, f"late{len(base)}")
        states: dict[str, list[Any]] = {early: [], late: []}
        is_cancelled = False
        while True:
            frame = await socket.receive()
            assert frame["type"] == "progress" and frame["job"]["object"] == "job"
            job = frame["job"]
            if job["id"] not in states:
                continue  # of another test
            states[job["id"]].append(job)
            if not is_cancelled and all(len(told) >= 3 for told in states.values()):
                is_cancelled = True
                await socket.send(type="job.cancel", id=early)
                await socket.send(type="job.cancel", id=late)
            if all(told and told[-1]["status"] == "cancelled" for told in states.values()):
                break
        for told in states.values():
            done = [job["bytes_done"] for job in told if job["stage"] == "downloading"]
            assert done == sorted(done)
        # A client that comes later is told how they ended.
        async with opened(store, base + "/jobs") as another:
            ended: set[str] = set()
            while not {early, late} <= ended:
                job = (await another.receive())["job"]
                if job["status"] == "cancelled":
                    ended.add(job["id"])
        await socket.send(type="chat.completion.create")
        while (frame := await socket.receive())["type"] != "error":
            pass
        assert "job.cancel" in frame["error"]["message"]
