"""Tests of web.api.rerank from outside: a random cross-encoder, beside a reference in numpy."""

import json
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from tests.models.reference_encoders import score
from tests.serving import KEY, ServerProcess
from web.api.rerank import RerankBody, rerank_request
from web.door.body import decode
from web.errors import ApiError

BASES = ("/v1", "/mimik-ai/openai/v1")
QUERY = "Which animals jump?"
DOCUMENTS = ["The quick brown fox jumps.", "Vectors: one for each text.", "café", "dog " * 40]


def post(server: ServerProcess, base: str = "/v1", **fields: Any) -> httpx.Response:
    body = {"model": "ranker", "query": QUERY, "documents": DOCUMENTS} | fields
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(f"{server.url}{base}/rerank", json=body, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def reference(encoders: ServerProcess) -> list[float]:
    """The scores of DOCUMENTS, computed by others."""
    (folder,) = (encoders.home / "models/ranker").glob("files-*")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pairs = [tokenizer.encode(QUERY, document) for document in DOCUMENTS]
    return [score(folder, pair.ids, pair.type_ids) for pair in pairs]


@pytest.mark.parametrize("base", BASES)
def test_documents_are_ranked(encoders: ServerProcess, base: str, reference: list[float]) -> None:
    """The best first, each with its place in the request, and the score that is right."""
    response = post(encoders, base)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["model"] == "ranker" and body["object"] == "list"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] > 40
    found = {result["index"]: result["relevance_score"] for result in body["results"]}
    assert [found[index] for index in range(4)] == pytest.approx(reference, abs=1e-4)
    scores = [result["relevance_score"] for result in body["results"]]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4
    assert all("document" not in result for result in body["results"])


def test_fewer_and_with_their_texts(encoders: ServerProcess) -> None:
    """top_n cuts the list; return_documents brings each text, of objects too."""
    every = post(encoders).json()["results"]
    documents = [{"text": text, "title": "is not read"} for text in DOCUMENTS]
    response = post(encoders, documents=documents, top_n=2, return_documents=True)
    results = response.json()["results"]
    assert [result["index"] for result in results] == [result["index"] for result in every[:2]]
    for result in results:
        assert result["document"] == {"text": DOCUMENTS[result["index"]]}
    assert len(post(encoders, top_n=99).json()["results"]) == 4


def test_a_document_that_is_too_long(encoders: ServerProcess) -> None:
    """A 400 with both numbers, unless its beginning may be read."""
    documents = ["dog", "fox " * 500]
    response = post(encoders, documents=documents)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "context_length_exceeded" and "128" in error["message"]
    assert len(post(encoders, documents=documents, truncate=True).json()["results"]) == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["a"] * 2049}, "documents"),
        ({"documents": ["a", ""]}, "documents"),
        ({"documents": [{"title": "a"}]}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"return_documents": "yes"}, "return_documents"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    """Values of another type or range never reach a model."""
    body = json.dumps({"model": "m", "query": "q", "documents": ["d"]} | fields).encode()
    with pytest.raises(ApiError) as caught:
        rerank_request(decode(body, RerankBody))
    assert (caught.value.status, caught.value.param) == (400, param)


def test_the_wrong_model_says_which_can(encoders: ServerProcess) -> None:
    """An embedding model and a chat model rank nothing; an unknown one can be pulled."""
    for model in ("minilm", "tiny"):
        response = post(encoders, model=model)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "unsupported_task")
        assert "This one can: ranker." in error["message"]
    response = post(encoders, model="unheard-of")
    assert response.status_code == 404
    assert "'unheard-of'" in response.json()["error"]["message"]
    assert "mlx-edge pull" in response.json()["error"]["message"]
