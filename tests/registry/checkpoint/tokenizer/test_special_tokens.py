"""Tests of registry.checkpoint.tokenizer.special_tokens: roles, and all that ends an answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlx_lm.models import muse_spark
from transformers import PreTrainedTokenizerFast

from registry.checkpoint.architectures import tokenizer_defaults
from registry.checkpoint.tokenizer import special_tokens
from registry.checkpoint.tokenizer.load import load
from tests.models.tiny_models import make_tokenizer


def _write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "files",
    [
        {"special_tokens_map.json": {"bos_token": "<s>", "eos_token": {"content": "</s>"}}},
        {
            "tokenizer_config.json": {"bos_token": "<a>", "eos_token": None, "pad_token": "<p>"},
            "special_tokens_map.json": {"bos_token": "<s>"},
        },
        {
            "tokenizer_config.json": {
                "bos_token": {"__type": "AddedToken", "content": "<a>", "lstrip": True},
                "image_token": "<i>",
                "added_tokens_decoder": {"453": {"content": "<a>"}},
            }
        },
        {"tokenizer_config.json": {"extra_special_tokens": {"video_token": "<v>"}}},
    ],
)
def test_roles_are_those_that_transformers_sees(tmp_path: Path, files: dict[str, Any]) -> None:
    """The texts that a chat template may use."""
    make_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    _write(tmp_path, files)
    oracle = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert special_tokens.texts(tmp_path) == oracle.special_tokens_map


def test_a_role_that_only_the_older_file_has(tmp_path: Path) -> None:
    """It is filled in, which transformers does not once there is an added_tokens_decoder; but not
    where the newer file says that there is none."""
    config: dict[str, Any] = {"added_tokens_decoder": {}, "unk_token": None}
    older = {"bos_token": "<s>", "unk_token": "<unk>"}
    _write(tmp_path, {"tokenizer_config.json": config, "special_tokens_map.json": older})
    assert special_tokens.texts(tmp_path) == {"bos_token": "<s>"}


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        ({}, {2}),  # of tokenizer_config.json
        ({"config.json": {"eos_token_id": 7}}, {2, 7}),
        ({"config.json": {"eos_token_id": [7, 8]}}, {2, 7, 8}),
        (
            {
                "config.json": {"eos_token_id": [7, 8]},
                "generation_config.json": {"eos_token_id": 8},
            },
            {2, 7, 8},
        ),
        ({"config.json": {"text_config": {"eos_token_id": [1, 106]}}}, {1, 2, 106}),
        ({"config.json": {"eos_token_id": None}}, {2}),
        ({"tokenizer_config.json": {"eos_token": {"content": "<|endoftext|>"}}}, {0}),
        (
            {"tokenizer_config.json": {}, "special_tokens_map.json": {"eos_token": "<|im_end|>"}},
            {2},
        ),
        ({"tokenizer_config.json": {"eos_token": "<|new|>"}}, {453}),
    ],
)
def test_whatever_ends_an_answer(tmp_path: Path, files: dict[str, Any], ids: set[int]) -> None:
    """All sources are united: none replaces another."""
    make_tokenizer(tmp_path)
    _write(tmp_path, files)
    assert special_tokens.eos_token_ids(tmp_path, load(tmp_path).token_to_id) == ids


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        ({"config.json": {"model_type": "muse_spark"}}, {200001, 200008}),
        ({"config.json": {"model_type": "muse_spark", "eos_token_id": 7}}, {7}),
        ({"config.json": {"model_type": "muse_spark"},
          "generation_config.json": {"eos_token_id": [7]}}, {7}),
        ({"config.json": {"model_type": "llama"}}, set()),
        ({"config.json": {}}, set()),
    ],
)  # fmt: skip
def test_an_architecture_has_ends_of_its_own(
    tmp_path: Path, files: dict[str, Any], ids: set[int]
) -> None:
    """Which mlx-lm takes where the checkpoint names none."""
    _write(tmp_path, files)
    assert special_tokens.eos_token_ids(tmp_path, lambda text: None) == ids


def test_defaults_of_a_tokenizer_are_mlx_lms() -> None:
    """Read from its source, without importing it."""
    assert tokenizer_defaults("muse_spark") == muse_spark.TOKENIZER_DEFAULTS
    assert tokenizer_defaults("llama") == tokenizer_defaults("no_such") == {}
