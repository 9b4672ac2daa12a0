"""Tests of checkpoint.encoders.reading: the weights are those that config.json tells of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from registry.checkpoint.encoders import FAMILIES
from registry.checkpoint.verify import verify
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from registry.errors import NotAModel
from tests.models import random_encoders

RANKING = [name for name, family in FAMILIES.items() if family.can_rank]
# The second layer's first matrix behind attention, as each family calls it.
MATRIX = {
    "distilbert": "transformer.layer.1.ffn.lin1.weight",
    "modernbert": "layers.1.mlp.Wi.weight",
    "nomic_bert": "encoder.layers.1.mlp.fc11.weight",
}
ORDINARY = "encoder.layer.1.intermediate.dense.weight"


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    return folder


def refusal(folder: Path) -> str:
    """What an import says, which leaves nothing."""
    target = folder.parent / "target"
    with pytest.raises(NotAModel) as caught:
        carry_out(folder, Work(str(folder), str(target)), lambda stage, done, total: None)
    assert not target.exists() and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_missing_is_named(tmp_path: Path, family: str) -> None:
    """It was ready, and gave an error to each who asked for a vector."""
    folder = random_encoders.make(tmp_path / "m", family)
    verify(folder)
    name = MATRIX.get(family, ORDINARY)
    assert f"lack {name!r}, which a model of type '{family}'" in refusal(
        changed(folder, lambda weights: weights.pop(name))
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_what_nobody_reads_is_named(tmp_path: Path, family: str) -> None:
    """An adapter, or a matrix of another network: the vectors would be others."""
    folder = random_encoders.make(tmp_path / "m", family)
    layer = MATRIX.get(family, ORDINARY).removesuffix(".weight")
    extra = {f"{layer}.lora_A.{n}": np.ones(4, np.float32) for n in range(5)}
    message = refusal(changed(folder, lambda weights: weights.update(extra)))
    assert f"hold '{layer}.lora_A.0', " in message and "and 2 more" in message


@pytest.mark.parametrize("family", FAMILIES)
def test_another_shape_is_named(tmp_path: Path, family: str) -> None:
    folder = random_encoders.make(tmp_path / "m", family)
    name = MATRIX.get(family, ORDINARY)
    message = refusal(changed(folder, lambda weights: weights.update({name: weights[name].T})))
    assert f"Tensor {name!r} has the shape [32, " in message


@pytest.mark.parametrize("family", RANKING)
def test_a_head_that_is_missing_is_named(tmp_path: Path, family: str) -> None:
    """Without it there is no score."""
    folder = random_encoders.make(tmp_path / "m", family, is_reranker=True)
    verify(folder)

    def behead(weights: dict[str, Any]) -> None:
        for name in [name for name in weights if "classifier" in name]:
            del weights[name]

    assert "lack 'classifier." in refusal(changed(folder, behead))


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_that_no_vector_needs_are_no_matter(tmp_path: Path, family: str) -> None:
    """Those that guess words, poolers, and positions that are counted anew."""
    folder = random_encoders.make(tmp_path / "m", family)
    names = ["pooler.dense.weight", "cls.predictions.bias", "lm_head.bias", "classifier.weight"]
    unread: dict[str, Any] = {name: np.ones(4, np.float32) for name in names}
    unread["embeddings.position_ids"] = np.arange(4)
    verify(changed(folder, lambda weights: weights.update(unread)))


def test_a_tensor_under_two_names_is_refused(tmp_path: Path) -> None:
    """Which one is computed with would be chance."""
    folder = random_encoders.make(tmp_path / "m", "bert")
    twice = {f"bert.{ORDINARY}": np.ones((64, 32), np.float32)}
    message = refusal(changed(folder, lambda weights: weights.update(twice)))
    assert "are the same" in message
