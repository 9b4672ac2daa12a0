"""Tests of registry.checkpoint.attention: what config.json says of looking both ways."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint.attention import Sight, looks_ahead, settled, sight_of
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from tests.models import random_decoders

GTE_7B = {"model_type": "qwen2", "hidden_size": 3584, "sliding_window": 131072}
GTE_7B |= {"auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"}, "use_sliding_window": False}
HUB_CODE = "Alibaba-NLP/gte-Qwen2-1.5B-instruct--modeling_qwen.Qwen2Model"
GEMMA = {"model_type": "gemma3_text", "sliding_window": 512, "use_bidirectional_attention": True}


@pytest.mark.parametrize(
    ("config", "sight"),
    [
        ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, Sight()),
        ({"model_type": "qwen2", "is_causal": True, "auto_map": {"AutoModel": "x.Y"}}, Sight()),
        ({"model_type": "qwen2", "is_causal": False}, Sight(is_two_way=True)),
        ({"model_type": "llama", "is_causal": False, "auto_map": {"AutoModel": "x"}}, Sight(True)),
        ({"model_type": "mistral", "is_causal": False, "sliding_window": None}, Sight(True)),
        (GTE_7B, Sight(is_two_way=True)),
        (GTE_7B | {"hidden_size": 1536}, Sight()),
        (GTE_7B | {"hidden_size": 1536, "auto_map": {"AutoModel": HUB_CODE}}, Sight()),
        (GEMMA, Sight(is_two_way=True, window=257)),
        (GEMMA | {"use_bidirectional_attention": False}, Sight()),
    ],
)  # fmt: skip
def test_what_is_certain(config: dict[str, Any], sight: Sight) -> None:
    assert sight_of(config) == sight


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "cohere2", "is_causal": False}, "both directions of a 'cohere2'"),
        ({"model_type": "gemma3_text", "is_causal": False}, "both directions of a 'gemma3_text'"),
        ({"model_type": "mistral", "is_causal": False, "sliding_window": 4096}, "'mistral'"),
        ({"model_type": "qwen3", "use_bidirectional_attention": True}, "both directions"),
        (GEMMA | {"use_bidirectional_attention": "vision"}, "both directions"),
        (GEMMA | {"layer_types": ["full_attention"] * 6}, "every 6th"),
        ({"model_type": "llama", "architectures": ["LlamaBidirectionalModel"]}, "write is_causal"),
        ({"model_type": "mistral", "architectures": ["NVEmbedModel"]}, "NVEmbedModel"),
        ({"model_type": "qwen3", "auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"}}, "Qwen2M"),
        ({"model_type": "llama", "auto_map": {"AutoModel": "modeling_llama_encoder.L"}}, "both"),
    ],
)
def test_what_is_not_certain_is_refused(config: dict[str, Any], message: str) -> None:
    """A vector by another attention would be wrong, and look like any other."""
    with pytest.raises(ValueError, match=message):
        sight_of(config)


def test_it_is_written_down_when_the_name_of_the_code_goes(tmp_path: Path) -> None:
    """The code is never run, and its name not kept; what it told is."""
    folder = random_decoders.make(tmp_path / "gte", "qwen2", auto_map=GTE_7B["auto_map"])
    path = folder / "config.json"
    config = json.loads(path.read_bytes())
    del config["is_causal"]
    path.write_text(json.dumps(config))
    for name, dtype in (("taken", None), ("recast", "float16")):
        target = tmp_path / name
        carry_out(folder, Work(str(folder), str(target), dtype=dtype), lambda *_: None)
        made = json.loads((target / "config.json").read_bytes())
        assert made["is_causal"] is False and "auto_map" not in made
        assert sight_of(made) == sight_of(config)


def test_other_configs_stay_as_they_are() -> None:
    """A chat model may have code of its own, too: nothing is said of it."""
    config: dict[str, object] = {"model_type": "phi3", "auto_map": {"AutoModel": "modeling.Phi3"}}
    assert settled(config) == config
    assert not looks_ahead(config) and looks_ahead(config | {"is_causal": False})
