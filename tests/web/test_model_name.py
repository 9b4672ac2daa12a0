"""Tests of web.model_name: names as clients write them, alone and on every route that takes one."""

from pathlib import Path

import httpx
import pytest
from openai import NotFoundError, OpenAI

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model
from web.model_name import hint, meant, nearest

IDS = ["Qwen3-0.6B", "smollm2-135m", "Twin", "tWIN", "pocket"]


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("pocket", "pocket"), ("pocket:latest", "pocket"), ("Pocket", "pocket"),
        ("POCKET:latest", "pocket"), ("qwen3-0.6b", "Qwen3-0.6B"), ("tWIN", "tWIN"),
        ("twin", None), ("pocket:7b", None), ("owner/pocket", None), (":latest", None), ("", None),
    ],
)  # fmt: skip
def test_what_a_name_means(name: str, model_id: str | None) -> None:
    assert meant(name, IDS) == model_id


def test_what_is_near() -> None:
    """The owner and the tag do not count; nothing is named that is not near."""
    assert nearest("mlx-community/Qwen3-0.6B-4bit", IDS) == ["Qwen3-0.6B"]
    assert nearest("pocket:7b", IDS) == ["pocket"]
    assert nearest("twin", IDS) == ["Twin", "tWIN"]
    assert nearest("unknown-model", IDS) == nearest("x" * 100_000, IDS) == []
    assert hint("owner/poket", IDS) == "; did you mean 'pocket'?" and hint("zzz", IDS) == ""


def test_every_route_takes_a_name(tmp_path: Path) -> None:
    """Chat answers with the registered id; a 404 names what is near; so do list and unload."""
    link_model(tmp_path / "home", "Tiny-Llama", make_llama(tmp_path / "source"))
    headers = {"Authorization": f"Bearer {KEY}"}
    with (
        ServerProcess(tmp_path / "home") as server,
        OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client,
        httpx.Client(base_url=server.url + "/v1", headers=headers, timeout=60) as http,
    ):
        for name in ("tiny-llama", "Tiny-Llama:latest"):
            answer = client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "hi"}], max_tokens=2
            )
            assert answer.model == "Tiny-Llama"
            assert client.models.retrieve(name).id == "Tiny-Llama"
        for path in ("owner/tiny-llama", "owner%2Ftiny-llama", "tiny-lama"):
            answer_404 = http.get(f"/models/{path}")
            assert answer_404.status_code == 404
            assert "did you mean 'Tiny-Llama'?" in answer_404.json()["error"]["message"]
        with pytest.raises(NotFoundError, match="not found in store; did you mean 'Tiny-Llama'"):
            client.chat.completions.create(
                model="owner/Tiny-Llama", messages=[{"role": "user", "content": "hi"}]
            )
        for path, asked in (("embeddings", {"input": "x"}), ("rerank", {"query": "x"})):
            body = {"model": "tiny-llama:x", "documents": ["x"], **asked}
            assert "did you mean" in http.post(f"/{path}", json=body).text
        assert http.post("/models", json={"model": "TINY-LLAMA"}).json()["id"] == "Tiny-Llama"
        assert "did you mean" in http.delete("/models/owner/tiny-llama").text
        assert http.delete("/models/tiny-llama:latest").json()["id"] == "Tiny-Llama"
