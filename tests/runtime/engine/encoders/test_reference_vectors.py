"""Tests of engine.encoders against figures of transformers that `reference_vectors` pinned."""

import json
from pathlib import Path

import numpy as np
import pytest

from registry.checkpoint.model import Model
from runtime.engine.encoders.batch import EncodeBatch
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed
from runtime.text.tokenizer import ModelTokenizer
from tests.models import reference_vectors
from tests.models.reference_vectors import EMBEDDERS, RERANKERS, Case
from tests.models.tiny_encoders import MINILM

CASES: dict[str, list[Case]] = json.loads(reference_vectors.PINNED.read_text(encoding="utf-8"))


def hold_equal(folder: Path, cases: list[Case]) -> None:
    """In one pass, so that most inputs are padded. Ten times closer than what is promised."""
    tokenizer = ModelTokenizer(folder)
    inputs = [
        c["tokens"] if "tokens" in c else tokenizer.texts([c["text"]], None, None)[0][0]
        for c in cases
    ]
    firsts = [case.get("first_length", 0) for case in cases]
    batch = EncodeBatch()
    batch.add(Embed(1, inputs, firsts if any(firsts) else []))
    pack = []
    while more := batch.next_pack(10**6):
        pack += more
    rows = load_encoder(Model("pinned", folder), lambda done, total: None).encode(pack)
    for entry, row in zip(pack, rows, strict=True):
        vector, expected = np.frombuffer(row, "<f4"), np.array(cases[entry.index]["vector"])
        assert abs(vector - expected).max() < 1e-4
        cosine = vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)
        assert 1 - cosine < 1e-5


def test_real_weights_from_text_to_vector() -> None:
    """all-MiniLM-L6-v2: our tokens, and what is made of them."""
    hold_equal(MINILM, CASES["minilm"])


@pytest.mark.parametrize("architecture", EMBEDDERS)
def test_embedders(tmp_path: Path, architecture: str) -> None:
    """Each architecture, with its own pooling."""
    hold_equal(reference_vectors.make_embedder(tmp_path, architecture), CASES[architecture])


@pytest.mark.parametrize("architecture", RERANKERS)
def test_rerankers(tmp_path: Path, architecture: str) -> None:
    """A score's cosine says nothing, its one component everything."""
    folder = reference_vectors.make_reranker(tmp_path, architecture)
    hold_equal(folder, CASES[f"{architecture} reranker"])
