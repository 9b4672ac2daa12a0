"""Pulls from the hub by the store API, stage by stage."""

from pathlib import Path
from typing import Any

import pytest

from tests.hub.hub_server import HubServer
from tests.models.random_decoders import make_qwen3_reranker
from tests.serving import ServerProcess
from tests.store_client import BASE, assert_chats, events, post, show


def test_pull_in_stages(store: ServerProcess, hub: HubServer, folder: Path, gguf: Path) -> None:
    """Resolving, resolved, sizes; already there; no such quantisation; no such repository."""
    hub.add_folder("org/tiny", folder, licence="mit")
    hub.add_repo("org/tiny-GGUF", {"tiny-Q8_0.gguf": gguf, "tiny-F16.gguf": gguf})
    path = f"{BASE}/hf/models/pull"
    status, body = post(store, path, {"repo": "org/tiny", "name": "pulled"})
    resolving, resolved, *sizes = events(body)
    assert resolving == {"stage": "resolving", "repo": "org/tiny", "quant": "auto"}
    assert resolved["stage"] == "resolved" and resolved["modelId"] == "pulled"
    assert resolved["modelFile"] == "model.safetensors" and resolved["kind"] == "llm"
    assert sizes and all(set(event) == {"size", "totalSize"} for event in sizes), body
    assert_chats(store, "pulled")
    assert events(post(store, path, {"repo": "org/tiny", "name": "pulled"})[1])[2]["stage"] == (
        "already_exists"
    )
    status, body = post(store, path, {"repo": "org/tiny-GGUF", "quant": "q8-0"})
    assert events(body)[1]["modelId"] == "tiny-Q8_0" and "error" not in body
    assert show(store, "tiny-Q8_0")["gguf"] == {"initContextSize": 32768}
    status, body = post(store, path, {"repo": "org/tiny-GGUF", "quant": "Q5_K_M"})
    wanted = events(body)[-1]
    assert wanted["stage"] == "quant_required"
    assert wanted["available"][0] == {
        "name": "Q8_0", "file": "tiny-Q8_0.gguf", "size": gguf.stat().st_size
    }  # fmt: skip
    assert events(post(store, path, {"repo": "org/none"})[1])[-1]["stage"] == "error"


def test_pull_for_a_task(store: ServerProcess, hub: HubServer, tmp_path: Path) -> None:
    """What a model is for, where its files do not say it; and no task that nobody has."""
    hub.add_folder("org/ranks", make_qwen3_reranker(tmp_path), licence="mit")
    body = {"repo": "org/ranks", "name": "ranks", "task": "rerank"}
    pulled = events(post(store, f"{BASE}/hf/models/pull", body)[1])
    assert pulled[1]["kind"] == "embed" and "stage" not in pulled[-1], pulled
    assert show(store, "ranks")["kind"] == "embed"
    status, answer = post(store, f"{BASE}/hf/models/pull", body | {"task": "paint"})
    assert status == 400 and "task" in answer


@pytest.mark.parametrize("body", [{}, {"repo": ""}, {"repo": "x"}, {"repo": "a/b/c"}], ids=str)
def test_pull_without_a_repository(store: ServerProcess, body: Any) -> None:
    assert post(store, f"{BASE}/hf/models/pull", body)[0] == 400
