"""Tests of GET /v1/network, and of what a hub is told by a server that pulls from it."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.hub.hub_server import HubServer
from tests.models.tiny_models import make_llama
from tests.serving import ServerProcess
from tests.store_client import BASE, curl, events, post, wait_until

# All that a request for a file or a list of files has to say. The id is a number drawn anew for
# each request: huggingface_hub's, to find it again in a log.
NEEDED = {
    "host", "user-agent", "accept", "accept-encoding", "connection", "range", "x-amzn-trace-id"
}  # fmt: skip


@pytest.mark.slow
def test_a_pull_is_told_and_tells_no_more_than_it_must(tmp_path: Path) -> None:
    """Where the server went and what for. The hub sees a name, the files, and nothing of us."""
    with HubServer() as hub:
        hub.add_folder("org/tiny", make_llama(tmp_path / "source"))
        environment = {"HF_ENDPOINT": hub.url}
        flags = ("--allow-private-downloads", "localhost")
        with ServerProcess(tmp_path / "home", *flags, environment=environment) as server:
            assert server.get("/v1/network")["loopback"] == []
            body = {"repo": "org/tiny", "name": "tiny"}
            pulled = events(post(server, f"{BASE}/hf/models/pull", body)[1])
            assert "error" not in pulled[-1], pulled
            told = server.get("/v1/network")
        seen = list(hub.requests)
    purposes = {(one["host"] or one["ip"]): one["purpose"] for one in told["loopback"]}
    assert purposes == {
        "127.0.0.1": "the hub",
        "localhost": "files of 127.0.0.1, which redirects there",
    }
    assert told["reached"] == [] and told["num_unlisted"] == 0
    for path in [request.path for request in seen]:  # the list of files, and these
        assert re.fullmatch(r"/api/models/org/tiny(/revision/\w+)?|/org/tiny/resolve/.*", path), (
            path
        )
    assert {request.method for request in seen} <= {"GET", "HEAD"}
    for request in seen:
        assert request.headers["user-agent"] == "mlx-edge"
        assert set(request.headers) <= NEEDED, request
        assert re.fullmatch(r"(blobs=\w+)?|Signature=secret", request.query), request.query


def test_what_a_server_can_reach(tmp_path: Path) -> None:
    """By its settings, each with who named it; a proxy's password is not told."""
    environment = {
        "HF_ENDPOINT": "https://hub.example",
        "HTTPS_PROXY": "http://me:sesame@proxy.example:3128",
    }
    flags = ("--allow-private-downloads", "nas.example")
    with ServerProcess(tmp_path / "home", *flags, environment=environment) as server:
        status, body = curl(server, "/v1/network", "-H", "Authorization: Bearer another")
        assert status == 401, body
        # A child that was just started is about to seal itself.
        wait_until(lambda: _by_role(server.get("/v1/network"))["text worker"]["sealed"])
        told = server.get("/v1/network")
        processes = _by_role(told)
        assert processes["server"]["pid"] == server.process.pid
        assert (
            processes["server"]["needs_network"] and not processes["text worker"]["needs_network"]
        )
    destinations = {one["destination"]: one["named_by"] for one in told["reachable"]}
    assert destinations["https://hub.example"] == "HF_ENDPOINT"
    assert any(where.startswith("nas.example") for where in destinations)
    assert "http://proxy.example:3128 (HTTPS_PROXY)" in destinations
    assert "sesame" not in str(told) and told["reached"] == [] and told["since"] > 0


def test_an_engine_is_told_by_its_model(server: ServerProcess) -> None:
    status, body = post(server, "/v1/models", {"model": "tiny"})
    assert status == 200, body
    processes = server.get("/v1/network")["processes"]
    engines = {one["model"]: one for one in processes if one["role"] == "engine"}
    assert engines["tiny"]["sealed"]


def _by_role(told: dict[str, Any]) -> dict[str, Any]:
    return {process["role"]: process for process in told["processes"]}
