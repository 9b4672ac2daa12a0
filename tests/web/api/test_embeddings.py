"""Tests of api.embeddings from outside: the real all-MiniLM-L6-v2, SDKs in two languages, curl."""

import base64
import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from tokenizers import Tokenizer

from runtime.requests import Embeddings
from tests.models.tiny_encoders import MINILM
from tests.serving import KEY, ROOT, ServerProcess
from web.api.embeddings import EmbeddingsBody, _base64, _floats, answer, embedding_request
from web.door.body import decode
from web.errors import ApiError

JAVASCRIPT = ROOT / "tests" / "javascript"
BASES = ("/v1", "/mimik-ai/openai/v1")
# The beginning of the vector that the model's card computes with sentence-transformers.
SENTENCE = "This is an example sentence"
REFERENCE = [0.0676569, 0.0634959, 0.0487131, 0.0793049, 0.0374480, 0.0026528, 0.0393749]
TEXTS = ["A man is eating food.", "The girl is carrying a baby.", "Someone has a meal.", SENTENCE]


@pytest.fixture
def client(encoders: ServerProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=encoders.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


def post(server: ServerProcess, base: str = "/v1", **fields: Any) -> httpx.Response:
    body = {"model": "minilm", "input": SENTENCE} | fields
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.post(f"{server.url}{base}/embeddings", json=body, headers=headers, timeout=60)


def vectors(response: httpx.Response) -> list[list[float]]:
    assert response.status_code == 200, response.text
    return [item["embedding"] for item in response.json()["data"]]


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def tokens_of(text: str) -> list[int]:
    tokenizer = Tokenizer.from_file(str(MINILM / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def test_the_sdk_gets_right_vectors(client: OpenAI) -> None:
    """By default it asks for base64, and decodes it; usage counts [CLS] and [SEP]."""
    made = client.embeddings.create(model="minilm", input=SENTENCE)
    assert made.object == "list" and made.model == "minilm"
    (item,) = made.data
    assert (item.object, item.index, len(item.embedding)) == ("embedding", 0, 384)
    assert item.embedding[: len(REFERENCE)] == pytest.approx(REFERENCE, abs=1e-4)
    assert dot(item.embedding, item.embedding) == pytest.approx(1, abs=1e-5)
    assert made.usage.prompt_tokens == made.usage.total_tokens == len(tokens_of(SENTENCE))
    plain = client.embeddings.create(model="minilm", input=SENTENCE, encoding_format="float")
    assert plain.data[0].embedding == item.embedding


def test_many_texts_keep_their_order(client: OpenAI) -> None:
    """Each vector is that of its text alone, and those of like meaning are near each other."""
    made = client.embeddings.create(model="minilm", input=TEXTS)
    assert [item.index for item in made.data] == [0, 1, 2, 3]
    found = [item.embedding for item in made.data]
    for text, vector in zip(TEXTS, found, strict=True):
        alone = client.embeddings.create(model="minilm", input=text).data[0].embedding
        assert vector == pytest.approx(alone, abs=1e-5)
    assert dot(found[0], found[2]) > 0.5 > dot(found[0], found[1])


@pytest.mark.parametrize("base", BASES)
def test_every_kind_of_input(encoders: ServerProcess, base: str) -> None:
    """A text, a list of texts, token ids and lists of them: the same vector from all."""
    ids = tokens_of(SENTENCE)
    (expected,) = vectors(post(encoders, base))
    for value in ([SENTENCE], ids, [ids]):
        (vector,) = vectors(post(encoders, base, input=value))
        assert vector == pytest.approx(expected, abs=1e-6), value
    response = post(encoders, base, input=[tokens_of(text) for text in TEXTS], user="me")
    assert len(vectors(response)) == 4
    assert response.headers["content-type"] == "application/json"


def test_base64_is_float32_little_endian(encoders: ServerProcess) -> None:
    """A client that asks for it by itself gets what the other form says, to the last bit."""
    (numbers,) = vectors(post(encoders, encoding_format="float"))
    (item,) = post(encoders, encoding_format="base64").json()["data"]
    assert list(struct.unpack("<384f", base64.b64decode(item["embedding"]))) == numbers


@pytest.mark.parametrize(
    "value", ["", [], [""], ["a", ""], [[]], [[1], []], ["a"] * 2049, [[101]] * 2049], ids=len
)
def test_inputs_without_an_embedding_are_refused(encoders: ServerProcess, value: Any) -> None:
    """Nothing at all, or more than one request may have: the field is named."""
    response = post(encoders, input=value)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "input"


@pytest.mark.slow
def test_2048_inputs_are_served(encoders: ServerProcess) -> None:
    """As many as OpenAI takes; all are there, in order."""
    response = post(encoders, input=[f"n {number}" for number in range(2048)])
    found = vectors(response)
    assert len(found) == 2048 and all(len(vector) == 384 for vector in found)
    (last,) = vectors(post(encoders, input="n 2047"))
    assert found[2047] == pytest.approx(last, abs=1e-5)


def test_an_over_long_input_is_refused_or_truncated(encoders: ServerProcess) -> None:
    """Both numbers are in the error: the model reads 256 tokens."""
    long = "word " * 300
    response = post(encoders, input=["short", long])
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    assert "256" in error["message"] and "302" in error["message"]
    (cut,) = vectors(truncated := post(encoders, input=long, truncate=True))
    assert truncated.json()["usage"]["prompt_tokens"] == 256
    (short,) = vectors(post(encoders, input="word " * 254))
    assert cut == pytest.approx(short, abs=1e-5)


def test_a_prompt_is_set_before_each_text(encoders: ServerProcess) -> None:
    """The extension that retrieval models want."""
    prefixed = vectors(post(encoders, input=TEXTS, prompt="search_query: "))
    written = vectors(post(encoders, input=[f"search_query: {text}" for text in TEXTS]))
    for one, other in zip(prefixed, written, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_dimensions_that_cannot_be_had_are_refused(client: OpenAI) -> None:
    """MiniLM was not trained for shorter vectors; its own size passes."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="minilm", input="x", dimensions=128)
    assert caught.value.param == "dimensions"
    made = client.embeddings.create(model="minilm", input="x", dimensions=384)
    assert len(made.data[0].embedding) == 384


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"input": None}, "input"),
        ({"input": {"text": "x"}}, "input"),
        ({"input": [1.5]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [[1], "a"]}, "input"),
        ({"input": ["a", [1]]}, "input"),
        ({"input": [1, [1]]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [[2**40]]}, "input"),
        ({"truncate": "yes"}, "truncate"),
        ({"prompt": 1}, "prompt"),
        ({"model": ""}, "model"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    """Values of another type or range never reach a model."""
    body = json.dumps({"model": "m", "input": "x"} | fields).encode()
    with pytest.raises(ApiError) as caught:
        embedding_request(decode(body, EmbeddingsBody))
    assert (caught.value.status, caught.value.param) == (400, param)


def test_tokens_that_the_model_does_not_have_are_refused(encoders: ServerProcess) -> None:
    """An id beyond the vocabulary is the caller's fault."""
    response = post(encoders, input=[30_522])
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == "input"


def test_the_wrong_model_says_which_can(encoders: ServerProcess, client: OpenAI) -> None:
    """A chat model, a reranker, an embedding model: each names those that do what was asked."""
    for model in ("tiny", "ranker", "pocket"):
        with pytest.raises(openai.BadRequestError, match="minilm") as caught:
            client.embeddings.create(model=model, input="x")
        assert caught.value.param == "model" and f"'{model}'" in str(caught.value)
    hello: Any = [{"role": "user", "content": "hi"}]
    with pytest.raises(openai.BadRequestError, match=r"These can: pocket, tiny\."):
        client.chat.completions.create(model="minilm", messages=hello)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("model", ["nomic-embed-text", "unheard-of"])
def test_an_unknown_model_says_how_to_pull(encoders: ServerProcess, base: str, model: str) -> None:
    """The name, and the command; exactly, where the catalog knows it."""
    response = post(encoders, base, model=model)
    message = response.json()["error"]["message"]
    assert response.status_code == 404 and f"'{model}'" in message
    name = model if model == "nomic-embed-text" else "OWNER/NAME"
    assert f"mlx-edge pull {name}" in message


def test_models_tell_what_they_can(encoders: ServerProcess) -> None:
    """Capabilities, the kind, and how much is read, before and while a model is loaded."""
    vectors(post(encoders))
    listed = {model["id"]: model for model in encoders.get("/v1/models")["data"]}
    flags = ("chat", "embeddings", "rerank")
    can = {id: [model["capabilities"][flag] for flag in flags] for id, model in listed.items()}
    assert can["tiny"] == [True, False, False]
    assert can["minilm"] == [False, True, False]
    assert can["ranker"] == [False, False, True]
    minilm = listed["minilm"]
    assert minilm["info"]["kind"] == listed["ranker"]["info"]["kind"] == "embed"
    assert (minilm["context_length"], minilm["info"]["n_embd"]) == (256, 384)
    assert minilm["loaded"] is True and minilm["max_output_tokens"] is None
    mimoe = {model["id"]: model for model in encoders.get(f"{BASES[1]}/models")["data"]}
    assert mimoe["minilm"]["info"]["kind"] == "embed"


def test_curl(encoders: ServerProcess) -> None:
    """The request of every tutorial."""
    output = subprocess.run(
        ["curl", "-s", f"{encoders.url}{BASES[1]}/embeddings", "-H", "Authorization: Bearer 1234",
         "-H", "Content-Type: application/json",
         "-d", json.dumps({"model": "minilm", "input": [SENTENCE]})],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    embedding = json.loads(output)["data"][0]["embedding"]
    assert embedding[: len(REFERENCE)] == pytest.approx(REFERENCE, abs=1e-4)


def test_javascript(encoders: ServerProcess, tmp_path: Path) -> None:
    """The npm package, as it is documented, but for the port."""
    source = (JAVASCRIPT / "embeddings.js").read_text()
    script = JAVASCRIPT / f".{tmp_path.name}-embeddings.js"  # beside node_modules
    script.write_text(source.replace("localhost:8083", f"localhost:{encoders.port}"))
    try:
        result = subprocess.run(["node", str(script)], capture_output=True, text=True, timeout=60)
    finally:
        script.unlink()
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed["first"][: len(REFERENCE)] == pytest.approx(REFERENCE, abs=1e-4)
    # Read alone and beside another text: some CPUs add up in another order.
    assert printed["floats"] == pytest.approx(printed["first"], abs=1e-6)
    assert (printed["count"], printed["dimensions"]) == (2, 384)


def test_numbers_are_written_exactly() -> None:
    """float32 through JSON and base64 comes back bit by bit; the tail is OpenAI's."""
    numbers = [1.0, -0.0, 0.1, 1e-45, 3.4028234663852886e38, 0.30000001192092896]
    content = struct.pack("<6f", *numbers)
    made = Embeddings(content, num_dimensions=3, prompt_tokens=7)
    for write, read in (
        (_floats, lambda value: struct.pack("<3f", *value)),
        (_base64, base64.b64decode),
    ):
        written = json.loads(answer(made, 'a "model"', write))
        assert b"".join(read(item["embedding"]) for item in written["data"]) == content
        assert [item["index"] for item in written["data"]] == [0, 1]
        assert written["model"] == 'a "model"'
        assert written["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
