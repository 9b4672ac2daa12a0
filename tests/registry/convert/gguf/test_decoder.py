"""Tests of GGUFs of language models that embed, as Qwen3-Embedding's do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.checkpoint.attention import Sight, sight_of
from registry.checkpoint.model import Model
from registry.checkpoint.verify import verify
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from registry.errors import NotAModel
from runtime.engine.encoders.batch import EncodeBatch
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed
from tests.models.gguf_files import write_gguf
from tests.models.tiny_encoders import write_pooling
from tests.models.tiny_models import make_llama

QWEN3 = {"model_type": "qwen3", "head_dim": 32}


def taken(tmp_path: Path, **metadata: Any) -> Path:
    source = make_llama(tmp_path / "source", **QWEN3)
    path = write_gguf(source, tmp_path / "model.gguf", **metadata)
    target = tmp_path / "taken"
    carry_out(path, Work(str(path), str(target)), lambda *_: None)
    return target


def vector(folder: Path) -> Any:
    batch = EncodeBatch()
    batch.add(Embed(1, [[5, 9, 40, 7]]))
    encoder = load_encoder(Model("tiny", folder), lambda done, total: None)
    return np.frombuffer(encoder.encode(batch.next_pack(64))[0], "<f4")


@pytest.mark.parametrize(
    ("number", "mode"), [(1, "pooling_mode_mean_tokens"), (3, "pooling_mode_lasttoken")]
)
def test_a_file_that_pools_embeds(tmp_path: Path, number: int, mode: str) -> None:
    """By the same vectors as its folder; without the key it chats."""
    folder = taken(tmp_path, qwen3__pooling_type=number)
    assert verify(folder).kind == "embed"
    write_pooling(tmp_path / "source", mode)
    np.testing.assert_allclose(vector(folder), vector(tmp_path / "source"), atol=1e-5)


def test_a_file_that_does_not_pool_chats(tmp_path: Path) -> None:
    assert verify(taken(tmp_path, qwen3__pooling_type=0)).kind == "llm"


def test_a_file_that_ranks_is_refused(tmp_path: Path) -> None:
    """As a chat model, its answers would be no ranks."""
    with pytest.raises(NotAModel, match="pools in a way that is not known here"):
        taken(tmp_path, qwen3__pooling_type=4)


def test_a_file_may_look_both_ways(tmp_path: Path) -> None:
    """llama.cpp's `attention.causal`, in config.json's words."""
    folder = taken(tmp_path, qwen3__pooling_type=3, qwen3__attention__causal=False)
    config = json.loads((folder / "config.json").read_bytes())
    assert config["is_causal"] is False and sight_of(config) == Sight(is_two_way=True)
