"""The documented two steps from outside: create, bring the file; then it chats."""

import json
import socket
import struct
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest

from registry.store.store import Store
from tests.hub.hub_server import HubServer, Slow, Status, Truncate
from tests.serving import KEY, ServerProcess
from tests.store_client import (
    BASE,
    HEADERS,
    assert_chats,
    chat,
    create,
    curl,
    events,
    form_of,
    post,
    show,
    start,
    wait_until,
)


def test_upload_of_a_folder(store: ServerProcess, folder: Path) -> None:
    """Create, upload with curl -F, chat; the store says what it holds, and how long it loaded."""
    assert create(store, "folder", initContextSize=64)[0] == 201
    files = form_of(folder)
    status, body = curl(store, f"{BASE}/models/folder/upload", *files)
    assert status == 200 and '"readyToUse":true' in body, body
    size = (folder / "model.safetensors").stat().st_size
    assert show(store, "folder")["totalSize"] == size
    assert show(store, "folder")["status"] == "ready"
    assert_chats(store, "folder")
    long = chat(store, "folder", "word " * 100)
    assert long["status"] == 400 and "64 tokens" in long["error"]["message"]
    post(store, f"{BASE}/models", {"id": "folder", "initContextSize": 2000}, "PUT")
    assert chat(store, "folder", "word " * 100)["status"] == 200
    status, body = curl(store, f"{BASE}/models/folder/upload", *files)
    assert status == 409 and "already exists" in body
    record = Store(store.home).get("folder").record
    assert record is not None and record.load_s and record.peak_memory_bytes
    assert record.source is not None and record.source.kind == "upload"


@pytest.mark.parametrize("is_raw", [False, True])
def test_upload_of_a_gguf(store: ServerProcess, gguf: Path, is_raw: bool) -> None:
    """As a part of a form, or as the body: converted, verified, and it answers."""
    model_id = f"gguf-{is_raw}"
    create(store, model_id)
    arguments = ["-F", f"whatever=@{gguf}"]
    if is_raw:
        arguments = ["-H", "Content-Type: application/octet-stream", "-X", "POST", "-T", str(gguf)]
    status, body = curl(store, f"{BASE}/models/{model_id}/upload", *arguments)
    assert status == 200 and '"readyToUse":true' in body, body
    assert_chats(store, model_id)


def test_uploads_that_fail(store: ServerProcess, folder: Path, tmp_path: Path) -> None:
    """What is no model is refused with the reason; the next try works. Nothing is left."""
    create(store, "failing")
    path = f"{BASE}/models/failing/upload"
    (tmp_path / "35.gguf").write_bytes(struct.pack("<4sIQQQ3x", b"GGUF", 3, 0, 1, 1 << 62))
    for arguments, status, words in (
        (["-F", f"file=@{tmp_path / '35.gguf'}"], 422, "broken"),
        (["-F", f"file=@{folder / 'config.json'}"], 400, ""),
        (["-F", "field=value"], 400, "no file"),
        (["-d", "x=y"], 415, "multipart"),
        (["-F", f"file=@{folder / 'config.json'};filename=../x.json"], 400, "plain name"),
    ):
        found, body = curl(store, path, *arguments)
        assert found == status and words in body, body
        assert show(store, "failing")["readyToUse"] is False
    assert not (store.home / "partial" / "failing").exists()
    files = form_of(folder)
    assert curl(store, path, *files)[0] == 200
    assert curl(store, f"{BASE}/models/unknown/upload", *files)[0] == 404


def test_a_client_that_leaves_its_upload_leaves_nothing(store: ServerProcess) -> None:
    """The job ends as cancelled, and the model can be uploaded again."""
    create(store, "left")
    with socket.create_connection(("127.0.0.1", store.port)) as sock:
        head = (
            f"POST {BASE}/models/left/upload HTTP/1.1\r\nHost: 127.0.0.1:{store.port}\r\n"
            f"Authorization: Bearer {KEY}\r\nContent-Type: application/octet-stream\r\n"
            "Content-Length: 9000000\r\n\r\n"
        )
        sock.sendall(head.encode() + b"GGUF" + bytes(3_000_000))
        wait_until(lambda: show(store, "left").get("job"))
        job = show(store, "left")["job"]
        assert show(store, "left")["status"] == "downloading"
        assert curl(store, f"{BASE}/models/left", "-X", "DELETE")[0] == 409
    wait_until(lambda: store.get(f"/v1/jobs/{job}")["status"] == "cancelled")
    assert not (store.home / "partial" / "left").exists()
    assert curl(store, f"{BASE}/models/left", "-X", "DELETE")[0] == 200


def test_a_refusal_reaches_a_client_that_is_still_sending(
    store: ServerProcess, tmp_path: Path
) -> None:
    """Not a reset of the connection, however much more there is to send."""
    big = tmp_path / "big.gguf"
    big.write_bytes(b"GGUF" + bytes(30_000_000))
    for flags in ([], ["-H", "Expect:"]):
        for _ in range(3):
            path = f"{BASE}/models/unknown/upload"
            status, body = curl(store, path, "-F", f"file=@{big}", *flags)
            assert status == 404 and "unknown" in body


def test_an_upload_is_never_held_in_memory(store: ServerProcess, tmp_path: Path) -> None:
    """Of 80 MB, the web process keeps less than a quarter, and stays alive to others."""
    big = tmp_path / "big.gguf"
    big.write_bytes(b"GGUF" + bytes(80_000_000))
    create(store, "big")
    web = psutil.Process(store.process.pid)
    before = peak = web.memory_info().rss
    uploading = subprocess.Popen(
        ["curl", "-s", f"{store.url}{BASE}/models/big/upload", "-F", f"file=@{big}",
         "-H", f"Authorization: Bearer {KEY}"], stdout=subprocess.PIPE,
    )  # fmt: skip
    with uploading:
        while uploading.poll() is None:
            peak = max(peak, web.memory_info().rss)
            assert httpx.get(f"{store.url}/health").status_code == 200
    assert uploading.stdout is not None and peak - before < 20 << 20


def test_download_of_a_gguf(store: ServerProcess, hub: HubServer, gguf: Path) -> None:
    """Sizes in compact lines, no event at the end; ready when it closes; once more is one line."""
    create(store, "downloaded")
    url = hub.add_file("tiny.gguf", gguf)
    hub.misbehave("tiny.gguf", Slow(0.15, 40_000), times=1)
    status, body = post(store, f"{BASE}/models/downloaded/download", {"url": url})
    size = gguf.stat().st_size
    assert status == 200 and f'data: {{"size":{size},"totalSize":{size}}}\n\n' in body
    sizes = [event["size"] for event in events(body)]
    assert sizes == sorted(set(sizes)) and len(sizes) > 1
    assert all(set(event) == {"size", "totalSize"} for event in events(body))
    assert show(store, "downloaded")["readyToUse"] is True
    assert_chats(store, "downloaded")
    status, body = post(store, f"{BASE}/models/downloaded/download", {"url": url})
    (event,) = events(body)
    assert status == 200 and event["size"] == event["totalSize"] > 0


def test_download_of_a_repository(store: ServerProcess, hub: HubServer, folder: Path) -> None:
    """The URL of the weights is enough: what belongs to them lies beside them."""
    commit = hub.add_folder("org/plain", folder)
    create(store, "repository")
    url = f"{hub.url}/org/plain/resolve/{commit}/model.safetensors"
    status, body = post(store, f"{BASE}/models/repository/download", {"url": url})
    assert status == 200 and "error" not in body, body
    assert_chats(store, "repository")


def test_a_download_that_fails(store: ServerProcess, hub: HubServer, gguf: Path) -> None:
    """After the headers, one bare line of JSON; the model is not ready; the next try works."""
    create(store, "flaky")
    url = hub.add_file("flaky.gguf", gguf)
    hub.misbehave("flaky.gguf", Status(404), times=1)
    status, body = post(store, f"{BASE}/models/flaky/download", {"url": url})
    last = body.splitlines()[-1]
    assert status == 200 and not last.startswith("data:")
    assert json.loads(last)["error"]["code"] == 400 and "404" in last
    assert show(store, "flaky")["readyToUse"] is False
    hub.misbehave("flaky.gguf", Truncate(1000), times=1)
    status, body = post(store, f"{BASE}/models/flaky/download", {"url": url})
    assert "error" not in body and show(store, "flaky")["readyToUse"] is True
    for bad in ("file:///etc/passwd", "x", "ftp://example.com/x.gguf", "http://[/x.gguf"):
        create(store, "nowhere")
        status, body = post(store, f"{BASE}/models/nowhere/download", {"url": bad})
        assert status == 400 and "URL" in body
    assert post(store, f"{BASE}/models/unknown/download", {"url": url})[0] == 404


def test_leaving_a_download_stops_nothing(store: ServerProcess, hub: HubServer, gguf: Path) -> None:
    """It goes on, a second request joins it, and there is but one job."""
    create(store, "slow")
    url = hub.add_file("slow.gguf", gguf)
    hub.misbehave("slow.gguf", Slow(0.1, 40_000), times=1)
    stream = httpx.stream(
        "POST", f"{store.url}{BASE}/models/slow/download", json={"url": url}, headers=HEADERS
    )
    with stream as response:
        next(response.iter_bytes())
    assert show(store, "slow")["status"] == "downloading"
    status, body = post(store, f"{BASE}/models/slow/download", {"url": "http://127.0.0.1/x.gguf"})
    assert status == 409 and "download" in body
    status, body = post(store, f"{BASE}/models/slow/download", {"url": url})
    assert status == 200 and show(store, "slow")["readyToUse"] is True
    jobs = store.get("/v1/jobs")["data"]
    assert len([job for job in jobs if job["model"] == "slow"]) == 1


def test_a_killed_server_goes_on_with_its_download(
    tmp_path: Path, hub: HubServer, gguf: Path
) -> None:
    """kill -9 in mid-download: nothing half is ready, and the next server finishes the job."""
    url = hub.add_file("killed.gguf", gguf)
    hub.misbehave("killed.gguf", Slow(0.2, 40_000), times=1)
    with start(tmp_path / "home", hub) as first:
        create(first, "killed")
        stream = httpx.stream(
            "POST", f"{first.url}{BASE}/models/killed/download", json={"url": url}, headers=HEADERS
        )
        with stream as response:
            next(response.iter_bytes())
            job = show(first, "killed")["job"]
            first.process.kill()
    with start(tmp_path / "home", hub) as second:
        assert second.get(f"/v1/jobs/{job}")["model"] == "killed"
        wait_until(lambda: show(second, "killed")["readyToUse"])
        assert_chats(second, "killed")
