"""Tests of registry.checkpoint.encoder: what the files of sentence-transformers ask for."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.encoder import EncoderConfig
from registry.checkpoint.kind import kind_of
from registry.checkpoint.model import Model
from registry.checkpoint.modules import Modules, Normalize
from tests.models.tiny_encoders import write_pooling

BERT = {"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4}
NOMIC = {"model_type": "nomic_bert", "n_embd": 64, "n_head": 4, "rotary_emb_fraction": 1.0}
NOMIC |= {"activation_function": "swiglu"}


def model(folder: Path, config: dict[str, Any] = BERT, **files: Any) -> Model:
    """A folder with this config.json, and `name="content"` of name.json."""
    for name, content in {"config": config, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Model("tiny", folder)


def test_without_files_the_mean_is_normalised(tmp_path: Path) -> None:
    config = EncoderConfig.of(model(tmp_path))
    assert (config.kind, config.modules) == ("embed", Modules(("mean",), (Normalize(),)))
    assert (config.max_input_tokens, config.num_dimensions) == (512, 64)


def test_the_files_are_heard(tmp_path: Path) -> None:
    """Two modes stand one behind the other; without a Normalize module nothing is normalised."""
    write_pooling(tmp_path, "pooling_mode_cls_token")
    made = model(tmp_path, sentence_bert_config={"max_seq_length": 128})
    assert EncoderConfig.of(made).modules == Modules(("cls",), (Normalize(),))
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps(pooling))
    modules = json.loads((tmp_path / "modules.json").read_text())
    (tmp_path / "modules.json").write_text(json.dumps(modules[:2]))
    config = EncoderConfig.of(made)
    assert config.modules == Modules(("cls", "mean"), ())
    assert (config.num_dimensions, config.max_input_tokens) == (128, 128)


@pytest.mark.parametrize(
    ("config", "allowed", "refused"),
    [
        (BERT, [None, 64], [1, 32, 65]),
        (BERT | {"matryoshka_dimensions": [16, 32]}, [None, 16, 32, 64], [8, 65]),
        (NOMIC, [None, 1, 33, 64], [0, 65]),
    ],
)
def test_dimensions(
    tmp_path: Path, config: dict[str, Any], allowed: list[int | None], refused: list[int]
) -> None:
    """Where the model was trained for it, and as it was."""
    made = EncoderConfig.of(model(tmp_path, config))
    for dimensions in allowed:
        made.check_dimensions(dimensions)
    for dimensions in refused:
        with pytest.raises(ValueError, match="dimensions is"):
            made.check_dimensions(dimensions)


def test_kinds(tmp_path: Path) -> None:
    """A classifier ranks; a language model with pooling files embeds, and without them chats."""
    assert kind_of(model(tmp_path)) == "embed"
    ranks = BERT | {"architectures": ["BertForSequenceClassification"]}
    assert kind_of(model(tmp_path, ranks)) == "rerank"
    assert kind_of(model(tmp_path, {"model_type": "qwen3"})) == "llm"
    write_pooling(tmp_path, "pooling_mode_lasttoken")
    assert kind_of(model(tmp_path, {"model_type": "qwen3"})) == "embed"
