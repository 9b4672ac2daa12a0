"""Tests of registry.convert.gguf with a real file: kept number for number, or with a known loss."""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from registry.checkpoint import chat_template
from registry.checkpoint.tokenizer import special_tokens
from registry.checkpoint.tokenizer.ends import end_token_ids
from registry.checkpoint.tokenizer.load import load as load_tokenizer
from registry.errors import ConversionFailed
from registry.store.record import Recipe
from registry.store.store import Entry, Store
from scripts.description import described
from tests.models import smollm2
from tests.models.gguf_files import gguf_name
from tests.models.reference_llama import Floats
from tests.registry.convert.gguf.test_storage import numbers_of

pytestmark = pytest.mark.slow


@pytest.fixture
def entry(smollm2_home: Path) -> Entry:
    return Store(smollm2_home).get(smollm2.MODEL_ID)


def test_every_number_is_kept(entry: Entry) -> None:
    """Bit for bit those that gguf reads, in as few bytes as the file has."""
    expected, found = smollm2.reference().weights, in_file_order(numbers_of(entry.folder))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    num_bytes = smollm2.gguf().stat().st_size
    assert (entry.folder / "model.safetensors").stat().st_size < 1.001 * num_bytes
    assert entry.size_bytes < 1.001 * num_bytes


def test_it_is_shown_what_was_kept(entry: Entry) -> None:
    lines = [text for name, text in described(entry) if name == "weights"]
    assert sorted(lines) == [
        "F32 kept as float16, 61 tensors",
        "Q4_1 kept as 4 bits in groups of 32, 210 tensors",
        "Q8_0 kept as 8 bits in groups of 32, 1 tensor",
    ]
    shown = dict(described(entry))
    assert (shown["type"], shown["parameters"]) == ("llama", "134.5 million")
    assert (shown["precision"], shown["context"]) == ("4 bits", "8192 tokens")


def test_what_the_folder_says(entry: Entry) -> None:
    """Its own tokens, every end of an answer, and the template as the file has it."""
    config = json.loads((entry.folder / "config.json").read_bytes())
    assert (config["bos_token_id"], config["rope_theta"], config["head_dim"]) == (1, 100000, 64)
    assert special_tokens.texts(entry.folder) == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
    }
    tokenizer = load_tokenizer(entry.folder)
    ends = end_token_ids(entry.folder, tokenizer)
    assert {tokenizer.id_to_token(id) for id in ends} == {
        *("<|im_end|>", "<|endoftext|>", "<reponame>"),
    }
    template = chat_template.find(entry.folder)
    assert template is not None and template.encode() in smollm2.gguf().read_bytes()


def test_a_second_packing_in_four_bits_is_refused(tmp_path: Path) -> None:
    """It answers nonsense then: its loss on a text goes from 4.02 to 4.44."""
    with pytest.raises(ConversionFailed, match="packed in 4 bits already .Q4_1."):
        smollm2.import_as(tmp_path, "again", Recipe(bits=4))
    assert not (tmp_path / "models/again").exists()


@pytest.mark.parametrize(
    ("recipe", "tolerance"), [(Recipe(dtype="float16"), 0.005), (Recipe(bits=8), 0.02)]
)
def test_the_loss_on_a_text(
    entry: Entry, expected_loss: float, tmp_path: Path, recipe: Recipe, tolerance: float
) -> None:
    """Weights unpacked into halves are what they were, and a second packing in 8 bits hurts little.

    Those that are kept have the file's loss, for they are the file's, number for number.
    """
    folder = smollm2.import_as(tmp_path, "other", recipe).folder
    weights = in_file_order(numbers_of(folder))
    tokens = passage(entry)
    loss = smollm2.reference().changed(weights).loss(tokens)
    assert loss == pytest.approx(expected_loss, abs=tolerance)


@pytest.fixture(scope="module")
def expected_loss(smollm2_home: Path) -> float:
    """Of the file itself."""
    return smollm2.reference().loss(passage(Store(smollm2_home).get(smollm2.MODEL_ID)))


def passage(entry: Entry) -> list[int]:
    """As much of the text as numpy reads in a few seconds."""
    return list(load_tokenizer(entry.folder).encode(smollm2.PASSAGE).ids[:600])


def in_file_order(weights: dict[str, mx.array]) -> dict[str, Floats]:
    """By llama.cpp's names; neighbours that rope turns are side by side there."""
    found = {}
    for name, value in weights.items():
        numbers = np.array(value)
        for layer, num_heads in (("q_proj", 9), ("k_proj", 3)):
            if layer in name:
                halves = numbers.reshape(num_heads, 2, -1, numbers.shape[-1])
                numbers = halves.swapaxes(1, 2).reshape(numbers.shape)
        found[gguf_name(name)] = numbers
    return found
