"""Tests of registry.checkpoint.tokenizer.special_tokens: the roles that tokens have."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from registry.checkpoint.tokenizer import special_tokens
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
