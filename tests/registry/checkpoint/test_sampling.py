"""Tests of registry.checkpoint.sampling: what a folder recommends, and what is used."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.sampling import FILE, Recommended, SamplingDefaults, recommended_in
from registry.checkpoint.verify import verify
from registry.errors import NotAModel
from tests.models.tiny_models import make_llama

QWEN3 = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [1, 2]}


def recommended(folder: Path, config: object) -> Recommended:
    (folder / FILE).write_text(json.dumps(config))
    return recommended_in(folder)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, Recommended()),
        (QWEN3, Recommended(0.6, 0.95, top_k=20)),
        ({"temperature": 1, "top_p": 1}, Recommended(1, 1)),
        # As transformers has it: nothing is drawn at random, whatever else is there.
        ({"do_sample": False}, Recommended(0)),
        ({"do_sample": False, "temperature": 0.7, "top_p": 0.9}, Recommended(0, 0.9)),
        ({"do_sample": True}, Recommended()),
        ({"do_sample": None, "temperature": None, "top_p": None, "top_k": None}, Recommended()),
        ({"do_sample": "false", "temperature": 0.7}, Recommended(0.7)),
        ({"temperature": 0, "top_p": 0}, Recommended(0, 0)),
        ({"temperature": 1e-6}, Recommended(1e-6)),
        # What is used is said, also where it asks for nothing: top_k 0 is all of them.
        ({"top_k": 0, "repetition_penalty": 1.0}, Recommended(top_k=0, repetition_penalty=1.0)),
        ({"top_k": -1}, Recommended(top_k=0)),
        ({"top_k": 20.0}, Recommended(top_k=20)),
        (
            {"min_p": 0.05, "presence_penalty": 1.5, "frequency_penalty": -2, "max_new_tokens": 9},
            Recommended(min_p=0.05, presence_penalty=1.5, frequency_penalty=-2),
        ),
        # What is not used is named, save where it asks for nothing.
        ({"typical_p": 1, "mirostat": 0}, Recommended()),
        (
            {"typical_p": 0.9, "top_k": 2.5, "repetition_penalty": 0},
            Recommended(not_used={"typical_p": 0.9, "top_k": 2.5, "repetition_penalty": 0}),
        ),
    ],
)
def test_a_file_recommends(tmp_path: Path, config: object, expected: Recommended) -> None:
    assert recommended(tmp_path, config) == expected


@pytest.mark.parametrize(
    "value", ["0.6", True, [0.6], {"value": 0.6}, float("nan"), 10**400, -1e300]
)
def test_what_is_no_number_is_not_there(tmp_path: Path, value: Any) -> None:
    """Of any of the keys; one the others do not suffer from."""
    config = {"temperature": value, "top_p": 0.8, "top_k": value, "min_p": value}
    assert recommended(tmp_path, config) == Recommended(None, 0.8)
    assert recommended(tmp_path, {"temperature": 0.8, "top_p": value}) == Recommended(0.8)


@pytest.mark.parametrize(("temperature", "top_p"), [(2.1, 1.01), (-0.1, -1), (100, 50)])
def test_what_no_request_may_have_is_named(
    tmp_path: Path, temperature: float, top_p: float
) -> None:
    """And not used."""
    config = {"temperature": temperature, "top_p": top_p}
    assert recommended(tmp_path, config) == Recommended(None, None, config)


@pytest.mark.parametrize("content", ["{", "[]", "3", '"greedy"', "", "\x00"])
def test_a_file_that_cannot_be_read_is_told_at_import(tmp_path: Path, content: str) -> None:
    """It was imported, and its load failed."""
    folder = make_llama(tmp_path / "model")
    (folder / FILE).write_text(content)
    with pytest.raises(NotAModel, match=r"^generation_config\.json cannot be used: "):
        verify(folder)


def test_a_folder_in_its_place_is_told_too(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "model")
    (folder / FILE).mkdir()
    with pytest.raises(NotAModel, match=r"^generation_config\.json cannot be used: "):
        verify(folder)


def test_verification_notes_it(tmp_path: Path) -> None:
    """So nobody who lists a thousand models opens a thousand files."""
    folder = make_llama(tmp_path / "model")
    assert verify(folder).sampling == Recommended()
    (folder / FILE).write_text(json.dumps(QWEN3))
    assert verify(folder).sampling == Recommended(0.6, 0.95, top_k=20)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Recommended(), SamplingDefaults(1.0, 1.0, "default", min_p=0.05)),
        (Recommended(0.6, 0.9), SamplingDefaults(0.6, 0.9, FILE)),
        (Recommended(0.0), SamplingDefaults(0.0, 1.0, FILE, min_p=0.05)),
        (Recommended(None, 1.0), SamplingDefaults(1.0, 1.0, FILE)),
        (Recommended(top_k=0), SamplingDefaults(1.0, 1.0, FILE)),
        (
            Recommended(repetition_penalty=1.1),
            SamplingDefaults(1.0, 1.0, FILE, min_p=0.05, repetition_penalty=1.1),
        ),
        # As a record of before has it.
        (Recommended(not_used={"top_k": 5}), SamplingDefaults(1.0, 1.0, FILE, top_k=5)),
        (
            Recommended(not_used={"mirostat": 2}),
            SamplingDefaults(1.0, 1.0, "default", {"mirostat": 2}, min_p=0.05),
        ),
    ],
)
def test_what_is_missing_is_our_own(said: Recommended, expected: SamplingDefaults) -> None:
    """Temperature 1 as documented; the tail is cut where nobody says a word of it."""
    assert SamplingDefaults.of(said, FILE) == expected
