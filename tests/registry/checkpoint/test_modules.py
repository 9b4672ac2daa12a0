"""Tests of registry.checkpoint.modules: what of sentence-transformers' modules is computed."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.modules import (
    Dense,
    Modules,
    Normalize,
    PoolingMode,
    check_weights,
    files_to_fetch,
    read_modules,
)
from registry.errors import NotAModel
from tests.models.tiny_encoders import write_dense, write_modules, write_pooling

MEAN = "pooling_mode_mean_tokens"
LABSE = Dense("2_Dense", 32, 16, has_bias=True, activation="Tanh", has_residual=False)


def listed(*modules: tuple[str, str]) -> list[dict[str, str]]:
    """Entries of modules.json: type behind "sentence_transformers.", and path."""
    return [{"type": f"sentence_transformers.{name}", "path": path} for name, path in modules]


def make_labse(folder: Path, **config: Any) -> Path:
    """As LaBSE: pooled, a Dense layer, normalised."""
    write_pooling(folder, "pooling_mode_cls_token")
    write_modules(folder, "Pooling", "Dense", "Normalize")
    write_dense(folder / "2_Dense", 32, 16, **config)
    return folder


def test_steps_come_in_their_order(tmp_path: Path) -> None:
    """Normalised before a Dense is another vector than normalised behind it."""
    modules = read_modules(make_labse(tmp_path))
    assert modules == Modules(("cls",), (LABSE, Normalize()))
    assert modules.size(32) == 16
    write_modules(tmp_path, "Pooling", "Normalize", "Dense")
    (tmp_path / "2_Dense").rename(tmp_path / "3_Dense")
    assert [type(step) for step in read_modules(tmp_path).steps] == [Normalize, Dense]


def test_both_ways_to_write_types(tmp_path: Path) -> None:
    """Version 6 of sentence-transformers has another path of modules for each class."""
    make_labse(tmp_path, activation_function="torch.nn.modules.linear.Identity", bias=False)
    modules = listed(
        ("base.modules.transformer.Transformer", ""),
        ("sentence_transformer.modules.pooling.Pooling", "1_Pooling"),
        ("base.modules.dense.Dense", "2_Dense"),
    )
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (dense,) = read_modules(tmp_path).steps
    assert isinstance(dense, Dense)
    assert (dense.activation, dense.has_bias) == ("Identity", False)
    check_weights(tmp_path, dense)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        # Flags: concatenated in one order, however the file has them.
        ({MEAN: True, "pooling_mode_max_tokens": True}, ("max", "mean")),
        ({"pooling_mode": "lasttoken"}, ("lasttoken",)),
        ({"pooling_mode": ["mean", "max"]}, ("mean", "max")),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, ("mean_sqrt_len",)),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, ("mean_sqrt_len",)),
    ],
)
def test_pooling(tmp_path: Path, config: dict[str, Any], pooling: tuple[PoolingMode, ...]) -> None:
    """What several modes make is concatenated in the order that sentence-transformers has."""
    write_pooling(tmp_path, MEAN)
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps(config))
    assert read_modules(tmp_path).pooling == pooling


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (listed(("models.Transformer", ""), ("models.WordWeights", "1_WordWeights")), "WordWeight"),
        (listed(("models.Transformer", ""), ("models.LayerNorm", "2_LayerNorm")), "'LayerNorm'"),
        (listed(("models.Pooling", "../../etc")), "outside"),
        (listed(("models.Pooling", "/etc")), "outside"),
        (listed(("models.Transformer", "0_Transformer")), "not the folder's"),
        (listed(("models.Transformer", "")), "no module pools"),
        (listed(("models.Transformer", ""), ("models.Dense", "1_Dense")), "before what pools"),
        (listed(("models.Normalize", "1_Normalize")), "before what pools"),
        ([{"type": "custom_st.Transformer", "path": ""}], "code of the repository"),
        ([], "no module pools"),
        (["x"], "no list of modules"),
    ],
)
def test_what_cannot_be_computed_is_refused(
    tmp_path: Path, modules: list[Any], message: str
) -> None:
    """By its name, so that a person sees what is wanted."""
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match=message):
        read_modules(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"activation_function": "torch.nn.modules.activation.Hardtanh"}, "Hardtanh"),
        ({"activation_function": "custom.Tanh"}, "custom.Tanh"),
        ({"module_input_name": "token_embeddings"}, "token_embeddings"),
        ({"out_features": "16"}, "positive whole numbers"),
        ({"out_features": 0}, "positive whole numbers"),
    ],
)
def test_a_dense_that_cannot_be_computed_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    """sentence-transformers itself would take tanh for an activation that it does not trust."""
    path = make_labse(tmp_path) / "2_Dense/config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | config))
    with pytest.raises(ValueError, match=message):
        read_modules(tmp_path)


def test_sizes_must_fit(tmp_path: Path) -> None:
    """A Dense behind two modes gets a vector of twice the size."""
    modules = Modules(("cls", "mean"), (LABSE, Normalize()))
    assert modules.size(16) == 16
    with pytest.raises(ValueError, match="2_Dense takes 32 numbers, and gets 64"):
        modules.size(32)


def test_weights_must_fit(tmp_path: Path) -> None:
    """Names, shapes, and that they are no pickle."""
    make_labse(tmp_path)
    check_weights(tmp_path, LABSE)
    for wrong in (
        Dense("2_Dense", 32, 15, has_bias=True, activation="Tanh", has_residual=False),
        Dense("2_Dense", 32, 16, has_bias=False, activation="Tanh", has_residual=False),
        Dense("2_Dense", 32, 16, has_bias=True, activation="Tanh", has_residual=True),
    ):
        with pytest.raises(ValueError, match="is wanted"):
            check_weights(tmp_path, wrong)
    (tmp_path / "2_Dense/model.safetensors").rename(tmp_path / "2_Dense/pytorch_model.bin")
    with pytest.raises(ValueError, match="pickles are never read"):
        check_weights(tmp_path, LABSE)


def test_what_has_to_be_fetched(tmp_path: Path) -> None:
    """From a URL there is no listing: modules.json names the folders."""
    make_labse(tmp_path)
    assert files_to_fetch(tmp_path) == [
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed(("models.Dense", "../2_Dense"))))
    with pytest.raises(NotAModel, match="outside"):
        files_to_fetch(tmp_path)
