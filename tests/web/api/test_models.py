"""Tests of how a model's rows are batched: found out at its first load, listed, and remembered."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.models.tiny_models import make_gemma3, make_llama, make_llama4
from tests.serving import KEY, ServerProcess, link_model

_EXPECTED = {"plain": "full", "windowed": "full", "chunked": "alone"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    makers = zip(_EXPECTED, (make_llama, make_gemma3, make_llama4), strict=True)
    for name, make in makers:
        link_model(tmp_path / "home", name, make(tmp_path / name))
    return tmp_path / "home"


def batching(server: ServerProcess) -> dict[str, str | None]:
    models: list[dict[str, Any]] = server.get("/v1/models")["data"]
    return {model["id"]: model["capabilities"]["batching"] for model in models}


def ask(server: ServerProcess, model_id: str) -> None:
    body = {"model": model_id, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"{server.url}/v1/chat/completions"
    httpx.post(url, json=body, headers=headers, timeout=60).raise_for_status()


def noted(home: Path, model_id: str, known_key: str = "") -> dict[str, Any]:
    """What model.json says of the probe, once it says something else than `known_key`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        record = json.loads((home / "models" / model_id / "model.json").read_bytes())
        probed: dict[str, Any] = record.get("probed") or {"key": ""}
        if probed["key"] != known_key:
            return probed
        time.sleep(0.05)
    raise AssertionError("the probe was not noted")


def test_batching_is_found_out_listed_and_remembered(home: Path) -> None:
    with ServerProcess(home) as server:
        assert {batching(server)[name] for name in _EXPECTED} == {None}
        for name in _EXPECTED:
            ask(server, name)
        listed = batching(server)
        assert {name: listed[name] for name in _EXPECTED} == _EXPECTED
        keys = {name: noted(home, name)["key"] for name in _EXPECTED}
    with ServerProcess(home) as server:  # nothing is loaded yet, and all is known
        listed = batching(server)
        assert {name: listed[name] for name in _EXPECTED} == _EXPECTED
    path = home / "models" / "plain" / "model.json"
    record = json.loads(path.read_bytes())
    record["probed"]["exactness"] = {"merged": False, "padded": False, "chunked": True}
    path.write_text(json.dumps(record))
    with ServerProcess(home) as server:  # what is of this build and config is believed
        ask(server, "plain")
        assert batching(server)["plain"] == "alone"
    record["probed"]["key"] = "of another mlx-lm"
    path.write_text(json.dumps(record))
    with ServerProcess(home) as server:  # what is of another one is asked again
        ask(server, "plain")
        assert batching(server)["plain"] == "full"
        assert noted(home, "plain", "of another mlx-lm")["key"] == keys["plain"]


def test_the_life_of_a_model_as_it_is_listed(home: Path) -> None:
    """Unloaded, loaded, pinned by a request, unloaded by force while it answers."""
    with ServerProcess(home) as server, httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60
    ) as client:  # fmt: skip

        def shown() -> dict[str, Any]:
            model: dict[str, Any] = server.get("/v1/models/plain")
            return model

        assert shown()["state"] == "unloaded"
        ask(server, "plain")
        assert (shown()["state"], shown()["pinned"]) == ("loaded", False)
        deadline = time.monotonic() + 20  # an engine tells of its cache about once a second
        while not shown()["prefix_cache"]["prompt_tokens"] and time.monotonic() < deadline:
            time.sleep(0.05)
        cache = shown()["prefix_cache"]
        assert 0 < cache["num_bytes"] <= cache["budget_bytes"] and cache["num_tokens"] > 0
        metrics = client.get("/metrics").text
        for name in ("in_use", "reserved", "limit"):
            assert f"mlx_edge_memory_{name}_bytes " in metrics
        assert 'mlx_edge_requests_waiting_for_memory{model="plain"} 0' in metrics
        body = {"model": "plain", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        url = "/v1/chat/completions"
        with client.stream("POST", url, json=body | {"keep_alive": -1}) as answer:
            lines = answer.iter_lines()
            while '"content"' not in next(lines):
                pass
            assert shown()["pinned"] and shown()["expires_in_s"] is None
            bad = client.delete("/v1/models/plain?force=maybe")
            assert bad.status_code == 400 and bad.json()["error"]["param"] == "force"
            unloaded = client.delete("/v1/models/plain?force=true").json()
            last = [line for line in lines if line][-1]
        assert "was unloaded while this request ran" in last and '"model_unloaded"' in last
        before, after = unloaded["resident_before"], unloaded["resident_after"]
        assert unloaded["freed_bytes"] == before - after > 10_000_000
        assert shown()["state"] == "unloaded" and server.engines() == []
        assert client.delete("/v1/models/plain?force=true").status_code == 404
