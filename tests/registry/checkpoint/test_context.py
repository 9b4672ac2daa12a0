"""Tests of registry.checkpoint.context: the context length, however the real configs spell it.

The values are those of the models' own pages, and what vLLM derives unless a comment says why not.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from registry.checkpoint import defaults
from registry.checkpoint.architectures import model_types
from registry.checkpoint.context import DEFAULT_CONTEXT_LENGTH, context_length
from registry.checkpoint.model import Model
from registry.checkpoint.verify import verify
from tests.models.tiny_models import make_llama

NO_LIMIT = 1000000000000000019884624838656  # int(1e30), as transformers writes it


def linear(factor: float) -> dict[str, Any]:
    return {"type": "linear", "factor": factor}


def yarn(factor: float, original: int | None = None) -> dict[str, Any]:
    scaling = {"rope_type": "yarn", "factor": factor}
    return (
        scaling if original is None else {**scaling, "original_max_position_embeddings": original}
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "llama", "max_position_embeddings": 131_072}, 131_072),
        ({"model_type": "gpt2", "n_positions": 1024, "n_ctx": 1024}, 1024),
        ({"model_type": "gpt_bigcode", "n_positions": 8192}, 8192),
        ({"model_type": "dbrx", "max_seq_len": 32_768}, 32_768),
        ({"model_type": "openelm", "max_context_length": 2048}, 2048),
        ({"model_type": "lille-130m", "block_size": 512}, 512),
        ({"model_type": "kimi_linear", "model_max_length": 1_048_576}, 1_048_576),
        ({"model_type": "llama", "max_sequence_length": 2048}, 2048),  # the first conversions
        ({"model_type": "rwkv7", "context_length": 4096}, 4096),
        # Command R: 128K, of which 8K are positions that nothing looks up.
        (
            {"model_type": "cohere", "max_position_embeddings": 8192, "model_max_length": 131_072},
            131_072,
        ),
        # Qwen 7B: mlx-lm computes neither the scaling nor the logits that its other 24K need.
        ({"model_type": "qwen", "seq_length": 8192, "max_position_embeddings": 32_768}, 8192),
        ({"model_type": "mistral", "max_position_embeddings": 8192, "sliding_window": 512}, 8192),
        ({"model_type": "gpt_oss", "max_position_embeddings": 131_072,
          "initial_context_length": 4096, "rope_scaling": yarn(32, 4096)}, 131_072),
        # A generation's default length is no limit of the model, nor is a block of a sparse mask.
        ({"model_type": "phi3small", "max_position_embeddings": 8192, "max_length": 20,
          "block_size": 64, "max_new_tokens": 16}, 8192),
        ({"model_type": "phi", "max_position_embeddings": 2048.0}, 2048),
    ],
)  # fmt: skip
def test_a_limit_is_found_in_the_words_of_its_architecture(
    config: dict[str, Any], expected: int
) -> None:
    """Where a config has several, the smallest counts, as in vLLM."""
    assert context_length(config) == expected


@pytest.mark.parametrize("key", ["text_config", "language_config", "llm_config"])
def test_a_multimodal_config_says_it_of_its_text_model(key: str) -> None:
    """Which is what is computed; what stands outside is of pictures, or left over."""
    nested = {"model_type": "llama", "max_position_embeddings": 131_072}
    assert context_length({"model_type": "llava", key: nested}) == 131_072
    outside = {"model_type": "llava", "max_position_embeddings": 576}
    assert context_length(outside | {key: nested}) == 131_072
    assert context_length(outside | {key: {"model_type": "of_tomorrow"}}) == 576


@pytest.mark.parametrize(
    ("positions", "scaling", "expected"),
    [
        (4096, linear(4.0), 16_384),  # Vicuna 16K
        (32_768, {"rope_type": "dynamic", "factor": 6.0}, 196_608),  # InternLM 3
        (32_768, {"type": "dynamic", "factor": 1.0, "alpha": 1000.0}, 32_768),  # Hunyuan
        (40_960, yarn(4.0, 32_768), 131_072),  # Qwen3, as its page says to extend it
        (32_768, yarn(4), 131_072),
        (163_840, yarn(40, 4096), 163_840),  # DeepSeek-V3
        (65_536, yarn(8.0, 8192), 65_536),  # Olmo 3
        (131_072, {"rope_type": "llama3", "factor": 8.0}, 131_072),
        (131_072, {"type": "longrope", "long_factor": [1.0]}, 131_072),
        (131_072, {"type": "su", "factor": 32.0}, 131_072),
        (32_768, {"type": "mrope", "mrope_section": [16, 24, 24]}, 32_768),
        (4096, {"rope_type": "default", "rope_theta": 1e4}, 4096),
        (4096, {"rope_type": "linear", "factor": None}, 4096),
        (4096, {"rope_type": "linear", "factor": 0.5}, 4096),
        (4096, {"rope_type": "yarn", "factor": float("inf")}, 4096),
        (4096, {"rope_type": "yarn", "factor": float("nan")}, 4096),
        (4096, "no object", 4096),
        (4096, None, 4096),
    ],
)
@pytest.mark.parametrize("spelling", ["rope_scaling", "rope_parameters"])
def test_a_scaled_rotation_stretches_the_limit(
    positions: int, scaling: object, expected: int, spelling: str
) -> None:
    """Where config.json keeps the length before the scaling, as in vLLM."""
    config = {"model_type": "llama", "max_position_embeddings": positions, spelling: scaling}
    assert context_length(config) == expected
    assert context_length({"model_type": "llava", "text_config": config}) == expected


def test_gemma_3_is_stretched_already() -> None:
    """Its 131,072 are those of the scaled positions; the larger ones leave them out altogether."""
    text = {"model_type": "gemma3_text", "rope_scaling": linear(8.0)}
    assert context_length({"model_type": "gemma3", "text_config": text}) == 131_072
    assert context_length(text | {"max_position_embeddings": 32_768}) == 32_768
    layers = {"full_attention": linear(8.0), "sliding_attention": {"rope_type": "default"}}
    assert context_length({"model_type": "gemma3_text", "rope_parameters": layers}) == 131_072


@pytest.mark.parametrize(
    ("said", "expected"), [(16_384, 16_384), (NO_LIMIT, 65_536), (None, 65_536), (512, 65_536)]
)
def test_the_tokenizer_tells_whether_a_length_is_stretched(
    tmp_path: Path, said: int | None, expected: int
) -> None:
    """DeepSeek Coder's 16,384 positions are those after the scaling; vLLM takes four times that."""
    write_tokenizer_config(tmp_path, said)
    config = {"model_type": "llama", "max_position_embeddings": 16_384, "rope_scaling": linear(4)}
    assert context_length(config, tmp_path) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (8192, 8192),
        (NO_LIMIT, DEFAULT_CONTEXT_LENGTH),
        (1e30, DEFAULT_CONTEXT_LENGTH),
        (0, DEFAULT_CONTEXT_LENGTH),
        (-1, DEFAULT_CONTEXT_LENGTH),
        (True, DEFAULT_CONTEXT_LENGTH),
        ("8192", DEFAULT_CONTEXT_LENGTH),
        (None, DEFAULT_CONTEXT_LENGTH),
    ],
)
def test_the_tokenizer_is_asked_last(tmp_path: Path, said: object, expected: int) -> None:
    """Of state-space models, say, which have no limit; and only a length that can be one counts."""
    write_tokenizer_config(tmp_path, said)
    for model_type in ("mamba", "recurrent_gemma"):
        assert context_length({"model_type": model_type}, tmp_path) == expected
    config = {"model_type": "llama", "max_position_embeddings": 131_072}
    assert context_length(config, tmp_path) == 131_072


def test_a_damaged_tokenizer_config_is_not_this_ones_concern(tmp_path: Path) -> None:
    """Those that need it refuse it."""
    (tmp_path / "tokenizer_config.json").write_text("{")
    assert context_length({"model_type": "mamba"}, tmp_path) == DEFAULT_CONTEXT_LENGTH


def test_what_is_verified_is_what_is_enforced(tmp_path: Path) -> None:
    """The record and the runtime read the same, in a folder with all of it."""
    folder = make_llama(tmp_path / "tiny", max_position_embeddings=1024, rope_scaling=linear(2.0))
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 1500}))
    assert verify(folder).context_length == Model("tiny", folder).context_length == 1500


def test_the_defaults_are_those_of_transformers() -> None:
    """Read from its source alone, for each architecture that both know."""
    nested = {"gemma3_text", "gemma3n_text", "gemma4_text", "llama4_text", "qwen3_vl_text"}
    found = {name: defaults.context_length_of(name) for name in model_types() | nested}
    known = {name: length for name, length in found.items() if length is not None}
    assert len(known) > 60 and nested <= known.keys()
    for name, length in known.items():
        config = AutoConfig.for_model(name)
        keys = ("max_position_embeddings", "n_positions", "model_max_length")
        assert length in {getattr(config, key, None) for key in keys}, name


@pytest.mark.parametrize("name", ["../llama", "LLAMA", "", "a" * 100, "of_tomorrow"])
def test_a_name_that_is_no_model_type_has_no_default(name: str) -> None:
    """Strangers wrote it, and it becomes a path."""
    assert defaults.context_length_of(name) is None


def test_transformers_is_not_imported_for_it() -> None:
    """The web process asks too."""
    code = (
        "import sys; from registry.checkpoint.context import context_length; "
        "print(context_length({'model_type': 'gemma3_text'}), 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.split(r"\s+", done.stdout.strip()) == ["131072", "False"]


def write_tokenizer_config(folder: Path, length: object) -> None:
    said = {} if length is None else {"model_max_length": length}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
