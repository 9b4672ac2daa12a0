"""The store API from outside: what is registered, shown, changed, loaded and deleted."""

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.serving import ServerProcess
from tests.store_client import (
    BASE,
    HEADERS,
    chat,
    create,
    curl,
    events,
    form_of,
    post,
    show,
    tree,
)

BAD_IDS = ["", ".", "..", "../x", "a/b", "/etc", "-x", ".x", "a..b", "x" * 1000, "a\n", "x\0",
           "\u2024\u2024", "ａ"]  # fmt: skip


def test_create_show_list_update_delete(store: ServerProcess) -> None:
    """201 when new, 200 when not, compact JSON with the documented keys, and gone when deleted."""
    gguf_fields = {"initContextSize": 4096, "initGpuLayerSize": 99}
    status, body = create(store, "meta", gguf=gguf_fields, anything="else")
    assert status == 201 and '"readyToUse":false' in body and "error" not in body
    entry = json.loads(body)
    assert {"id": "meta", "version": "1.0.0", "kind": "llm", "gguf": gguf_fields}.items() <= (
        entry.items()
    )
    assert abs(entry["createdAt"] / 1000 - time.time()) < 60 and "totalSize" not in entry
    assert create(store, "meta")[0] == 200
    assert show(store, "meta") == entry
    listed = json.loads(curl(store, f"{BASE}/models")[1])
    assert set(listed) == {"data"} and entry in listed["data"]
    change = {"id": "meta", "action": "update", "initContextSize": 100, "metadata": {"a": [1]}}
    status, body = post(store, f"{BASE}/models", change, "PUT")
    assert status == 200 and json.loads(body)["gguf"]["initContextSize"] == 100
    assert json.loads(body)["metadata"] == {"a": [1]}
    status, body = curl(store, f"{BASE}/models/meta", "-X", "DELETE")
    assert status == 200 and json.loads(body) == {"id": "meta", "object": "model", "deleted": True}
    assert curl(store, f"{BASE}/models/meta", "-X", "DELETE")[0] == 404
    assert post(store, f"{BASE}/models", change, "PUT")[0] == 404


def test_bad_ids(store: ServerProcess) -> None:
    """They are 400, or 404 where they are no path of ours; nothing changes on disk."""
    before = tree(store.home.parent)
    for model_id in BAD_IDS:
        status, body = create(store, model_id)
        assert status == 400 and json.loads(body)["error"]["code"] == 400
        path = f"{BASE}/models/{quote(model_id, safe='')}"
        for extra in ("", "/upload", "/download"):
            status, body = curl(store, path + extra, "--path-as-is", "-X", "DELETE")
            assert status in (400, 404, 405), (model_id, body)
        upload = ["--path-as-is", "-F", "file=@/dev/null;filename=a.gguf"]
        assert curl(store, f"{path}/upload", *upload)[0] in (400, 404, 405)
        pull = {"repo": "org/tiny", "name": model_id}
        status, body = post(store, f"{BASE}/hf/models/pull", pull)
        assert (status, '"stage":"error"' in body) in ((400, False), (200, True))
    after = tree(store.home.parent)
    logs = {name for name in after if name.endswith((".log", ".lock"))}
    assert before.keys() - logs == after.keys() - logs


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "martian"}, {"kind": None}, {"version": ""}, {"version": None}, {"id": 1},
        {"gguf": []}, {"gguf": {"initContextSize": 0}}, {"gguf": {"initContextSize": "x"}},
        {"gguf": {"initContextSize": True}}, {"initContextSize": -1}, {"initContextSize": 1.5},
        {"metadata": "x"}, {"metadata": {"x": "y" * 70_000}},
    ],
    ids=str,
)  # fmt: skip
def test_bad_descriptions(store: ServerProcess, fields: dict[str, Any]) -> None:
    """400, in the documented shape; the id stays unknown."""
    status, body = create(store, "bad", **fields)
    assert status == 400 and json.loads(body)["error"]["code"] == 400
    assert curl(store, f"{BASE}/models/bad")[0] == 404


def test_reading_is_public_changing_is_not(store: ServerProcess) -> None:
    """GET needs no key, but an honest Host and Origin; everything else needs the key."""
    url = f"{store.url}{BASE}"
    assert httpx.get(f"{url}/models").status_code == 200
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        assert httpx.get(f"{url}/models", headers=headers).status_code == 403
    for method, path in (
        ("POST", "/models"), ("PUT", "/models"), ("DELETE", "/models/x"),
        ("POST", "/models/x/upload"), ("POST", "/models/x/download"), ("POST", "/hf/models/pull"),
    ):  # fmt: skip
        assert httpx.request(method, url + path).status_code == 401
    assert httpx.post(f"{url}/models", headers=HEADERS, content=b"{}").status_code == 415


def test_load_and_unload_by_the_store(store: ServerProcess, folder: Path) -> None:
    """The 1.0 generation's way: a stream that ends with the model; and deleting unloads first."""
    create(store, "loadable")
    files = form_of(folder)
    curl(store, f"{BASE}/models/loadable/upload", *files)
    load, unload = ({"id": "loadable", "action": name} for name in ("load", "unload"))
    status, body = post(store, f"{BASE}/models", load, "PUT")
    assert status == 200 and events(body)[0]["progress"].endswith("%<br />\n")
    assert events(body)[-1] == {
        "id": "loadable", "object": "model", "kind": "llm", "loaded": True
    }  # fmt: skip
    status, body = post(store, f"{BASE}/models", unload, "PUT")
    assert status == 200 and body.startswith('{"id":"loadable","object":"model","unloaded":true,')
    told = json.loads(body)
    assert told["freed_bytes"] == told["resident_before"] - told["resident_after"] > 0
    assert post(store, f"{BASE}/models", unload, "PUT")[0] == 404
    assert post(store, f"{BASE}/models", {"id": "loadable", "action": "dance"}, "PUT")[0] == 400
    post(store, f"{BASE}/models", load, "PUT")
    assert curl(store, f"{BASE}/models/loadable", "-X", "DELETE")[0] == 200
    loaded = store.get("/mimik-ai/openai/v1/models")["data"]
    assert "loadable" not in [model["id"] for model in loaded]
    assert chat(store, "loadable")["status"] == 404


@pytest.mark.parametrize("kind", ["vlm", "onnx"])
def test_kinds_that_cannot_run(store: ServerProcess, kind: str) -> None:
    """Registered gladly; a load, a chat or an upload says that this build cannot run it."""
    assert create(store, kind, kind=kind)[0] == 201
    for status, body in (
        post(store, f"{BASE}/models", {"id": kind, "action": "load"}, "PUT"),
        post(store, "/mimik-ai/openai/v1/models", {"model": kind}),
        curl(store, f"{BASE}/models/{kind}/upload", "-F", "file=@/dev/null;filename=a.gguf"),
    ):
        assert status == 400 and f"kind '{kind}'" in body
    assert chat(store, kind)["status"] == 400


def test_what_is_not_here(store: ServerProcess) -> None:
    """A registered model without files is 400; a catalogued one 404 that says how to get it."""
    create(store, "empty")
    answer = chat(store, "empty")
    assert answer["status"] == 400 and "not ready" in answer["error"]["message"]
    answer = chat(store, "smollm2-360m")
    assert answer["status"] == 404 and "mlx-edge pull smollm2-360m" in answer["error"]["message"]
    assert answer["error"]["message"].startswith("Model 'smollm2-360m' not found in store")
    assert chat(store, "nope")["error"]["message"] == "Model 'nope' not found in store"
