"""Tests of encoders of other families than BERT, from the import to what an SDK gets."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from tests.models import reference_sentences
from tests.models.reference_sentences import EMBEDDERS, MAX_TOKENS, QUERY, Case
from tests.serving import KEY, ROOT, ServerProcess, import_model

CASES: dict[str, list[Case]] = json.loads(reference_sentences.PINNED.read_text(encoding="utf-8"))
RERANKER = "mpnet"


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("families")
    home = folder / "home"
    for name in EMBEDDERS:
        import_model(home, name.lower(), reference_sentences.make_embedder(folder / name, name))
    import_model(home, "ranker", reference_sentences.make_reranker(folder / "ranks", RERANKER))
    with ServerProcess(home) as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("name", EMBEDDERS)
def test_the_sdk_gets_the_vectors_of_sentence_transformers(
    families: ServerProcess, name: str
) -> None:
    """All texts in one request, the longest cut where the model's files say it."""
    texts = [case["text"] for case in CASES[name]]
    with OpenAI(base_url=families.url + "/v1", api_key=KEY, max_retries=0) as client:
        made = client.embeddings.create(
            model=name.lower(), input=texts, extra_body={"truncate": True}
        )
    for item, case in zip(made.data, CASES[name], strict=True):
        assert item.embedding == pytest.approx(case["vector"], abs=1e-4)


@pytest.mark.slow
def test_a_cross_encoder_ranks_as_sentence_transformers_does(families: ServerProcess) -> None:
    cases = CASES[f"{RERANKER} reranker"]
    documents = [case["text"] for case in cases]
    response = httpx.post(
        f"{families.url}/v1/rerank",
        json={"model": "ranker", "query": QUERY, "documents": documents},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert response.status_code == 200, response.text
    scores = {item["index"]: item["relevance_score"] for item in response.json()["results"]}
    expected = {index: case["vector"][0] for index, case in enumerate(cases)}
    assert scores == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_what_is_listed_and_shown(families: ServerProcess) -> None:
    """The numbers of a family whose config.json has words of its own for them."""
    listed = {model["id"]: model for model in families.get("/v1/models")["data"]}
    flags = ("chat", "embeddings", "rerank")
    distilbert = listed["msmarco-distilbert-base-tas-b"]
    assert [distilbert["capabilities"][flag] for flag in flags] == [False, True, False]
    assert (distilbert["info"]["n_embd"], distilbert["context_length"]) == (32, MAX_TOKENS)
    assert listed["labse"]["info"]["n_embd"] == 24  # its Dense makes so many
    assert [listed["ranker"]["capabilities"][flag] for flag in flags] == [False, False, True]
    assert listed["ranker"]["context_length"] == 128  # of its 130 positions the first two are none
    command = [sys.executable, "-m", "scripts.cli", "--home", str(families.home), "show", "ranker"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert (lines["task"], lines["type"]) == (["rerank"], ["mpnet"])
    assert lines["context"] == ["128", "tokens"]
