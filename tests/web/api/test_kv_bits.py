"""Tests of how many bits a KV cache is held in: as the server has it, or a person for one model."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.models.tiny_models import make_gemma3, make_llama
from tests.serving import KEY, ServerProcess, link_model


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A model that can have quantised caches, and one with windows, that cannot."""
    link_model(tmp_path / "home", "plain", make_llama(tmp_path / "plain", head_dim=32))
    link_model(tmp_path / "home", "windowed", make_gemma3(tmp_path / "windowed"))
    (tmp_path / "home" / "config.toml").write_text("[serve]\nkv-bits = 8\n")
    return tmp_path / "home"


def post(server: ServerProcess, path: str, accept: str = "*/*", **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}", "Accept": accept}
    return httpx.post(f"{server.url}{path}", json=body, headers=headers, timeout=60)


def load(server: ServerProcess, model_id: str, kv_bits: object, **body: Any) -> httpx.Response:
    return post(server, "/v1/models", model=model_id, kv_bits=kv_bits, **body)


def listed(server: ServerProcess) -> dict[str, int | None]:
    models = server.get("/v1/models")["data"]
    return {model["id"]: model["kv_bits"] for model in models if model["id"] != "pocket"}


def noted(home: Path, model_id: str) -> int | None:
    record = json.loads((home / "models" / model_id / "model.json").read_bytes())
    bits: int | None = record.get("kv_bits")
    return bits


def test_the_servers_are_for_models_that_can_have_them(home: Path) -> None:
    with ServerProcess(home) as server:
        assert listed(server) == {"plain": None, "windowed": None}
        for model_id in ("plain", "windowed"):
            body: dict[str, Any] = {"model": model_id, "prompt": "Models run", "max_tokens": 4}
            assert post(server, "/v1/completions", **body).status_code == 200
        assert listed(server) == {"plain": 8, "windowed": 16}
    assert noted(home, "plain") is None


def test_a_persons_are_for_one_model_and_stay(home: Path) -> None:
    """Noted in its record when it has them; refused where it cannot."""
    with ServerProcess(home) as server:
        assert load(server, "plain", 4).json()["kv_bits"] == 4
        refused = load(server, "windowed", 4)
        error = refused.json()["error"]
        assert refused.status_code == 400 and error["code"] == "kv_bits_unsupported"
        assert error["param"] == "kv_bits" and "layers 0-1 of 3" in error["message"]
        streamed = post(server, "/v1/models", "text/event-stream", model="windowed", kv_bits=8)
        assert '"code":"kv_bits_unsupported"' in streamed.text.replace(": ", ":")
        for wrong in (5, "8", 8.5, True):
            refused = load(server, "plain", wrong)
            assert refused.status_code == 400 and refused.json()["error"]["param"] == "kv_bits"
        assert listed(server) == {"plain": 4, "windowed": None}
        assert (noted(home, "plain"), noted(home, "windowed")) == (4, None)
    with ServerProcess(home, environment={"MLX_EDGE_SERVE_KV_BITS": "16"}) as server:
        assert load(server, "plain", None).json()["kv_bits"] == 4
        assert load(server, "plain", 16).json()["kv_bits"] == 16
        assert load(server, "windowed", 16).json()["kv_bits"] == 16
    assert (noted(home, "plain"), noted(home, "windowed")) == (16, 16)
