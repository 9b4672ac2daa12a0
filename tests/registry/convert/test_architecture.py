"""Tests of registry.convert.architecture: language models that embed, from folder to vector."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from registry.checkpoint.model import Model
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from registry.errors import NotAModel
from runtime.engine.encoders.batch import EncodeBatch
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed
from tests.models import random_encoders
from tests.models.tiny_encoders import write_pooling


def make(folder: Path, layout: str) -> Path:
    """A Qwen3 embedder whose tensors are named as Qwen publishes them, or as others do."""
    random_encoders.make(folder, "qwen3")
    write_pooling(folder, "pooling_mode_lasttoken")
    path = folder / "model.safetensors"
    weights = load_file(path)
    if layout != "bare":
        weights = {f"model.{name}": value for name, value in weights.items()}
    if layout == "with a head":
        config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": False}
        (folder / "config.json").write_text(json.dumps(config))
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"] * 2
    save_file(weights, path)
    return folder


def convert(source: Path, target: Path, **recipe: Any) -> Path:
    work = Work(str(source), str(target), **recipe)
    verified = carry_out(source, work, lambda stage, done, total: None)
    assert (verified.kind, verified.model_type) == ("embed", "qwen3")
    assert verified.bits == recipe.get("bits")
    return target


def vector(folder: Path) -> Any:
    draw = random.Random(2)
    batch = EncodeBatch()
    batch.add(Embed(1, [[draw.randrange(5, 100) for _ in range(40)]]))
    encoder = load_encoder(Model("tiny", folder), lambda done, total: None)
    return np.frombuffer(encoder.encode(batch.next_pack(100))[0], "<f4")


@pytest.mark.parametrize("layout", ["bare", "prefixed", "with a head"])
def test_embedders_of_every_layout_can_be_packed(tmp_path: Path, layout: str) -> None:
    """As they are, cast and in 8 bits: nearly the same vector, and no head is kept."""
    source = make(tmp_path / "source", layout)
    expected = vector(source)
    np.testing.assert_array_equal(vector(convert(source, tmp_path / "same")), expected)
    cast = convert(source, tmp_path / "cast", dtype="bfloat16")
    packed = convert(source, tmp_path / "packed", bits=8, group_size=32)
    for folder in (cast, packed):
        assert vector(folder) @ expected > 0.995
        assert not any("lm_head" in name for name in load_names(folder))
    assert (packed / "model.safetensors").stat().st_size < 0.5 * (
        source / "model.safetensors"
    ).stat().st_size


def load_names(folder: Path) -> list[str]:
    content = (folder / "model.safetensors").read_bytes()
    return list(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]))


def test_an_embedder_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    """By name, when it is verified: not by the first who asks for a vector."""
    source = make(tmp_path / "source", "bare")
    weights = load_file(source / "model.safetensors")
    del weights["layers.1.mlp.up_proj.weight"]
    save_file(weights, source / "model.safetensors")
    with pytest.raises(NotAModel, match="layers.1.mlp.up_proj.weight"):
        convert(source, tmp_path / "target")
