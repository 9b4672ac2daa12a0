"""Tests of web.api.rerank with a language model that ranks: from the import to the score."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.models import reference_decoders
from tests.models.random_decoders import make_qwen3_reranker
from tests.models.reference_decoders import DOCUMENTS, INSTRUCTIONS, QUERY
from tests.scripts.test_cli import run
from tests.serving import KEY, ServerProcess, import_model

pytestmark = pytest.mark.slow

CASES = json.loads(reference_decoders.PINNED.read_text(encoding="utf-8"))["qwen3 reranker"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("words")
    source = make_qwen3_reranker(folder / "source")
    import_model(folder / "home", "ranks", source, "--as", "rerank")
    import_model(folder / "home", "embeds", source, "--as", "embed")
    with ServerProcess(folder / "home") as process:
        yield process


def ask(server: ServerProcess, path: str, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(f"{server.url}/v1/{path}", json=body, headers=headers, timeout=60)


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_scores_are_those_of_the_card(server: ServerProcess, instruction: str | None) -> None:
    """With the instruction that it was trained with, and with one of the request."""
    body = {"query": QUERY, "documents": list(DOCUMENTS), "instruction": instruction}
    response = ask(server, "rerank", model="ranks", **body)
    assert response.status_code == 200, response.text
    found = {result["index"]: result["relevance_score"] for result in response.json()["results"]}
    expected = [
        case["vector"][0]
        for case in CASES
        if (case["instruction"], case["max_length"]) == (instruction, 512)
    ]
    assert [found[index] for index in range(3)] == pytest.approx(expected, abs=1e-5)


def test_what_is_too_long(server: ServerProcess) -> None:
    """A document is refused, or loses its end; a query is only refused."""
    long = "word " * 2000
    body: dict[str, Any] = {"model": "ranks", "query": QUERY, "documents": [long]}
    error = ask(server, "rerank", **body).json()["error"]
    assert error["code"] == "context_length_exceeded" and "512" in error["message"]
    response = ask(server, "rerank", **body, truncate=True)
    assert response.status_code == 200 and response.json()["usage"]["prompt_tokens"] == 512
    body |= {"query": long, "documents": ["a"], "truncate": True}
    error = ask(server, "rerank", **body).json()["error"]
    assert error["code"] == "context_length_exceeded" and error["param"] == "query"


def test_what_it_is_for_is_listed(server: ServerProcess) -> None:
    """By the server, and by the command that shows a model."""
    headers = {"Authorization": f"Bearer {KEY}"}
    listed = httpx.get(f"{server.url}/v1/models", headers=headers).json()["data"]
    can = {model["id"]: model["capabilities"] for model in listed}
    assert can["ranks"]["rerank"] and not can["ranks"]["chat"]
    assert can["embeds"]["embeddings"] and not can["embeds"]["rerank"]
    shown = run(server.home, "show", "ranks").stdout
    assert shown.count("rerank") == 2  # what it does, and what it was taken as
    assert ask(server, "embeddings", model="embeds", input="a").status_code == 200
