"""Tests of embedding models as people bring them, from the upload to the vector."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from gguf.constants import PoolingType
from tokenizers import Tokenizer

from tests.models.gguf_encoders import write_encoder_gguf
from tests.models.reference_encoders import hidden_states, unit
from tests.models.tiny_encoders import make_bert, make_nomic_bert, write_pooling
from tests.serving import ServerProcess
from tests.store_client import BASE, HEADERS, create, curl, form_of

TEXT = "The lazy dog."


def upload(store: ServerProcess, model_id: str, *form: str, **fields: object) -> None:
    create(store, model_id, kind="embed", **fields)
    status, body = curl(store, f"{BASE}/models/{model_id}/upload", *form)
    assert status == 200, body
    assert json.loads(body)["kind"] == "embed"


def vector(store: ServerProcess, model_id: str, text: str = TEXT, **fields: object) -> list[float]:
    response = ask(store, model_id, text, **fields)
    assert response.status_code == 200, response.text
    (item,) = response.json()["data"]
    return list(item["embedding"])


def ask(store: ServerProcess, model_id: str, text: str, **fields: object) -> httpx.Response:
    body = {"model": model_id, "input": text} | fields
    return httpx.post(f"{store.url}/v1/embeddings", json=body, headers=HEADERS, timeout=60)


def expected(folder: Path) -> list[float]:
    """With the state of [CLS] for a vector."""
    tokens = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids
    return [float(value) for value in unit(hidden_states(folder, tokens)[0])]


def form_with(folder: Path, *names: str) -> list[str]:
    """The model's files and these, as curl sends them; paths are kept."""
    more = [flag for n in names for flag in ("-F", f"file=@{folder / n};filename={n}")]
    return form_of(folder) + more


def test_a_folder_says_how_it_pools(store: ServerProcess, tmp_path: Path) -> None:
    """CLS and not the mean, which is the default: its file has a folder of its own."""
    folder = make_bert(tmp_path / "source")
    write_pooling(folder, "pooling_mode_cls_token")
    upload(store, "by-file", *form_with(folder, "modules.json", "1_Pooling/config.json"))
    assert vector(store, "by-file") == pytest.approx(expected(folder), abs=1e-4)


def test_a_gguf_says_how_it_pools(store: ServerProcess, tmp_path: Path) -> None:
    """In one file, all that a folder says."""
    folder = make_bert(tmp_path / "source")
    gguf = write_encoder_gguf(folder, tmp_path / "m.gguf", pooling=PoolingType.CLS)
    upload(store, "by-gguf", "-F", f"file=@{gguf}")
    assert vector(store, "by-gguf") == pytest.approx(expected(folder), abs=1e-4)


def test_a_vector_can_be_cut(store: ServerProcess, tmp_path: Path) -> None:
    """nomic-embed-text was trained for it: the beginning of its vector, at length 1 again."""
    gguf = write_encoder_gguf(make_nomic_bert(tmp_path / "source"), tmp_path / "nomic.gguf")
    upload(store, "nomic", "-F", f"file=@{gguf}")
    whole, cut = vector(store, "nomic"), vector(store, "nomic", dimensions=8)
    beginning = np.array(whole[:8])
    assert len(whole) == 32 and len(cut) == 8
    assert cut == pytest.approx(list(beginning / np.linalg.norm(beginning)), abs=1e-5)


def test_a_prompt_can_be_named(store: ServerProcess, tmp_path: Path) -> None:
    """By the name that the model's own file gives it."""
    folder = make_bert(tmp_path / "source")
    name = "config_sentence_transformers.json"
    (folder / name).write_text(json.dumps({"prompts": {"query": "Which fox? "}}))
    upload(store, "prompted", *form_with(folder, "modules.json", "1_Pooling/config.json", name))
    named = vector(store, "prompted", prompt="query")
    assert named == pytest.approx(vector(store, "prompted", f"Which fox? {TEXT}"), abs=1e-6)
    assert named != pytest.approx(vector(store, "prompted"), abs=1e-2)


def test_a_persons_limit_is_kept(store: ServerProcess, tmp_path: Path) -> None:
    """The smaller of it and the model's own: listed, refused beyond, and cut there if wanted."""
    folder = make_bert(tmp_path / "source")
    for model_id, wanted, kept in (("limited", 8, 8), ("unlimited", 4096, 128)):
        upload(store, model_id, *form_of(folder), gguf={"initContextSize": wanted})
        response = httpx.get(f"{store.url}/v1/models/{model_id}", headers=HEADERS)
        shown = response.json()
        assert (shown["context_length"], shown["info"]["max_context"]) == (kept, kept)
        refused = ask(store, model_id, "dog " * kept)
        assert refused.status_code == 400 and f" {kept} " in refused.json()["error"]["message"]
        assert refused.json()["error"]["code"] == "context_length_exceeded"
        whole = vector(store, model_id, "dog " * (kept - 2))
        cut = vector(store, model_id, "dog " * kept, truncate=True)
        assert cut == pytest.approx(whole, abs=1e-6)
