"""Tests of engine.encoders from text to vector, against figures of sentence-transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.checkpoint.encoder import EncoderConfig
from registry.checkpoint.model import Model
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from runtime.engine.encoders.batch import EncodeBatch
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed
from runtime.text.tokenizer import ModelTokenizer
from tests.models import reference_sentences
from tests.models.reference_sentences import EMBEDDERS, QUERY, RERANKERS, Case

CASES: dict[str, list[Case]] = json.loads(reference_sentences.PINNED.read_text(encoding="utf-8"))


def imported(source: Path) -> Path:
    """What the job process makes of the folder, which is what is served."""
    target = source.parent / "taken"
    carry_out(source, Work(str(source), str(target)), lambda stage, done, total: None)
    return target


def encode(folder: Path, inputs: list[list[int]], firsts: list[int]) -> dict[int, Any]:
    """All in one pass, the short ones padded; and one by one, which changes nothing."""
    encoder = load_encoder(Model("tiny", folder), lambda done, total: None)
    batch = EncodeBatch()
    batch.add(Embed(1, inputs, firsts))
    pack = []
    while more := batch.next_pack(10**6):
        pack += more
    rows = [np.frombuffer(row, "<f4") for row in encoder.encode(pack)]
    for entry, row in zip(pack, rows, strict=True):
        alone = np.frombuffer(encoder.encode([entry])[0], "<f4")
        np.testing.assert_allclose(row, alone, atol=1e-5)
    return dict(zip((entry.index for entry in pack), rows, strict=True))


@pytest.mark.parametrize("name", EMBEDDERS)
def test_embedders(tmp_path: Path, name: str) -> None:
    """Tokens, network, pooling, what comes after, and where a text is cut."""
    folder = imported(reference_sentences.make_embedder(tmp_path / "source", name))
    limit = EncoderConfig.of(Model("tiny", folder)).max_input_tokens
    texts = [case["text"] for case in CASES[name]]
    inputs, _ = ModelTokenizer(folder).texts(texts, None, limit)
    assert max(map(len, inputs)) == limit == reference_sentences.MAX_TOKENS
    for index, row in encode(folder, inputs, []).items():
        np.testing.assert_allclose(row, CASES[name][index]["vector"], atol=2e-5)


@pytest.mark.parametrize("architecture", RERANKERS)
def test_rerankers(tmp_path: Path, architecture: str) -> None:
    """A query beside each document, and the family's own head."""
    folder = imported(reference_sentences.make_reranker(tmp_path / "source", architecture))
    cases = CASES[f"{architecture} reranker"]
    inputs, firsts = ModelTokenizer(folder).texts([case["text"] for case in cases], QUERY, None)
    for index, row in encode(folder, inputs, firsts).items():
        np.testing.assert_allclose(row, cases[index]["vector"], atol=1e-5)
