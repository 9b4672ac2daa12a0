"""Tests of convert.gguf.rope: scaling is honoured however the file spells it, or refused."""

import json
import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.rope_utils import YarnRoPE, initialize_rope
from mlx_lm.utils import load_model

from registry.checkpoint.context import context_length
from registry.convert import __main__ as convert
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from registry.errors import NotAModel
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama


def import_with(folder: Path, model_type: str = "llama", **keys: Any) -> dict[str, Any]:
    """The config of a random model whose file has these keys and no other of scaling."""
    original = make_llama(folder / "plain", model_type=model_type)
    source = write_gguf(original, folder / "model.gguf", **keys)
    work = Work(str(source), str(folder / "converted"))
    carry_out(convert.check(work), work, lambda stage, done, total: None)
    config: dict[str, Any] = json.loads((folder / "converted/config.json").read_bytes())
    return config


def logits(folder: Path) -> mx.array:
    """Of 200 positions: where a wrong rotation shows."""
    model, _ = load_model(folder)
    scores: mx.array = model(mx.array([[5, 9, 77, 41] * 50]))
    return scores


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
@pytest.mark.parametrize(
    "keys",
    [
        {"rope__scale_linear": 4.0},
        {"rope__scaling__factor": 4.0},
        {"rope__scaling__factor": 4.0, "rope__scale_linear": 2.0},
        {"rope__scaling__type": "linear", "rope__scale_linear": 4.0},
        {"rope__scaling__type": "linear", "rope__scaling__factor": 4.0},
    ],
)
def test_every_spelling_of_linear_scaling(
    tmp_path: Path, keys: dict[str, Any], model_type: str
) -> None:
    """The logits are those of the same weights with linear scaling in their config."""
    import_with(tmp_path, model_type, **{f"{model_type}__{key}": keys[key] for key in keys})
    linear = {"rope_type": "linear", "factor": 4.0}
    expected = make_llama(tmp_path / "linear", model_type=model_type, rope_scaling=linear)
    assert mx.array_equal(logits(tmp_path / "converted"), logits(expected))
    assert not mx.allclose(logits(tmp_path / "plain"), logits(expected), atol=0.1)


@pytest.mark.parametrize(
    "keys",
    [
        {"llama__rope__scaling__type": "none", "llama__rope__scaling__factor": 4.0},
        {"llama__rope__scaling__factor": 0.0},
        {"llama__rope__scale_linear": 1.0},
        {"llama__rope__scaling__finetuned": True},
        {"llama__rope__scaling__attn_factor": 1.0},
        {"llama__rope__scaling__yarn_ext_factor": 0.0},
    ],
)
def test_what_scales_nothing(tmp_path: Path, keys: dict[str, Any]) -> None:
    """As llama.cpp takes it, a factor of zero is none."""
    assert import_with(tmp_path, **keys)["rope_scaling"] is None


def test_yarn_is_read_whole(tmp_path: Path) -> None:
    """Its betas, its attention factor; without an original context, the file's is meant."""
    yarn: dict[str, Any] = {
        "llama__rope__scaling__type": "yarn",
        "llama__rope__scaling__factor": 4.0,
    }
    assert import_with(tmp_path / "a", **yarn)["rope_scaling"] == {
        **{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}
    }
    yarn |= {"llama__rope__scaling__original_context_length": 2048}
    yarn |= {"llama__rope__scaling__yarn_beta_fast": 16.0}
    yarn |= {"llama__rope__scaling__yarn_beta_slow": 2.0}
    yarn |= {"llama__rope__scaling__attn_factor": 1.5}
    scaling = import_with(tmp_path / "b", **yarn)["rope_scaling"]
    assert (scaling["beta_fast"], scaling["beta_slow"]) == (16.0, 2.0)
    assert scaling["original_max_position_embeddings"] == 2048
    rope = initialize_rope(16, 10000.0, False, scaling, 8192)
    assert isinstance(rope, YarnRoPE)
    # ggml_rope_cache_init: cosine and sine times this.
    assert math.isclose(rope.mscale, 1.5 * (1 + 0.1 * math.log(4)), rel_tol=1e-6)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"llama__rope__scaling__type": "longrope"}, "'longrope'; linear and yarn are read"),
        ({"llama__rope__scaling__type": "linear"}, "rope.scaling.factor is"),
        ({"llama__rope__scaling__type": "yarn"}, "rope.scaling.factor is"),
        ({"llama__rope__scaling__factor": -4.0}, "rope.scaling.factor is '-4.0'"),
        ({"llama__rope__scaling__attn_factor": 1.5}, "rope.scaling.attn_factor' is '1.5'"),
        ({"llama__rope__scaling__alpha": 1000.0}, "rope.scaling.alpha' is '1000.0'"),
        ({"llama__rope__scaling__yarn_ext_factor": 1.0}, "yarn_ext_factor' is '1.0'"),
        ({"llama__rope__scaling__yarn_log_multiplier": 0.1}, "yarn_log_multiplier' is '0.1"),
        ({"llama__rope__freq_base_swa": 1e4}, "rope.freq_base_swa' is '10000.0'"),
        ({"llama__rope__dimension_sections": [16, 24, 24, 0]}, "rope.dimension_sections'"),
        ({"llama__rope__dimension_count": 8}, "rotates a part of each head only"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(
    tmp_path: Path, keys: dict[str, Any], error: str
) -> None:
    with pytest.raises(NotAModel, match=error):
        import_with(tmp_path, **keys)


def test_two_scalings_are_refused(tmp_path: Path) -> None:
    """Llama 3's factors for each frequency and a factor for all of them."""
    llama3 = {
        **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "original_max_position_embeddings": 8192,
    }
    original = make_llama(tmp_path / "llama3", rope_scaling=llama3)
    source = write_gguf(original, tmp_path / "model.gguf", llama__rope__scale_linear=4.0)
    work = Work(str(source), str(tmp_path / "converted"))
    with pytest.raises(NotAModel, match="scales its rotation twice"):
        carry_out(convert.check(work), work, lambda stage, done, total: None)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, 8192),
        ({"llama__rope__scale_linear": 4.0}, 8192),
        ({"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 4.0}, 8192),
        (
            {
                "llama__rope__scaling__type": "yarn",
                "llama__rope__scaling__factor": 4.0,
                "llama__rope__scaling__original_context_length": 4096,
            },
            16_384,
        ),
    ],
)
def test_the_context_length_is_that_of_llama_cpp(
    tmp_path: Path, keys: dict[str, Any], expected: int
) -> None:
    """A GGUF's has been stretched already, where that of a config.json has not; yarn says both."""
    config = import_with(tmp_path, **keys)
    assert context_length(config, tmp_path / "converted") == expected
