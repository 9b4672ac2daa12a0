"""config.json as transformers 5 writes it computes what the old spelling computes.

Through real checkpoints: mlx-lm's own reading of the old spelling is the oracle.
"""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes, load_model

from registry.checkpoint.spelling import normalised, overrides
from registry.checkpoint.support import check_config
from registry.errors import NotAModel
from tests.models.zoo.checkpoints import make

_BASE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 320,
    "max_position_embeddings": 128,
    "rope_theta": 500.0,
    "tie_word_embeddings": True,
    "head_dim": 16,
}
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 48}
_QWEN_MOE: dict[str, Any] = {
    **_EXPERTS,
    "num_experts": 4,
    "shared_expert_intermediate_size": 48,
    "decoder_sparse_step": 1,
    "norm_topk_prob": True,
    "mlp_only_layers": [],
}
_GRANITE: dict[str, Any] = {
    "logits_scaling": 2.0,
    "attention_multiplier": 0.25,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.7,
    "attention_bias": False,
    "mlp_bias": False,
}
_MLA: dict[str, Any] = {
    **_EXPERTS,
    "num_key_value_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "qk_nope_head_dim": 16,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "routed_scaling_factor": 1.0,
    "n_group": 1,
    "topk_group": 1,
    "attention_bias": False,
}
# Every one computes all scalings of `_SCALINGS`.
_SCALING: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {},
    "qwen3": {},
    "smollm3": {},
    "olmo2": {},
    "gemma3_text": {"query_pre_attn_scalar": 16, "sliding_window": 32, "sliding_window_pattern": 4},
    "granite": _GRANITE,
    "seed_oss": {"attention_bias": False, "attention_out_bias": False, "mlp_bias": False},
    "deepseek_v3": _MLA,
}
# These compute the base only.
_PLAIN: dict[str, dict[str, Any]] = {
    "gemma": {},
    "gemma2": {"query_pre_attn_scalar": 16, "sliding_window": 32},
    "cohere": {"layer_norm_eps": 1e-5, "use_qk_norm": False},
    "cohere2": {"layer_norm_eps": 1e-5, "sliding_window": 32, "sliding_window_pattern": 4},
    "phi": {"layer_norm_eps": 1e-5, "partial_rotary_factor": 0.5},
    "glm4": {"partial_rotary_factor": 0.5, "attention_bias": False},
    "stablelm": {
        "partial_rotary_factor": 0.25,
        "layer_norm_eps": 1e-5,
        "use_qkv_bias": True,
        "use_parallel_residual": False,
        "qk_layernorm": False,
    },
    "starcoder2": {"norm_epsilon": 1e-5},
    "phi3": {},
    "mixtral": {**_EXPERTS, "num_local_experts": 4},
    "qwen2_moe": _QWEN_MOE,
    "qwen3_moe": _QWEN_MOE,
    "helium": {"attention_bias": False, "mlp_bias": False},
    "ernie4_5": {"use_bias": False},
}
_SCALINGS: dict[str, dict[str, Any]] = {
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 32.0},
    "linear": {"factor": 4},
    "dynamic": {"factor": 4.0},
}
_LONGROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "original_max_position_embeddings": 64,
    "short_factor": [1.0 + 0.05 * i for i in range(8)],
    "long_factor": [1.0 + 0.5 * i for i in range(8)],
}


def _parameters(config: dict[str, Any]) -> dict[str, Any]:
    """Take the rotary positions out of a config, as transformers 5 gathers them."""
    parameters = {"rope_type": "default", **(config.pop("rope_scaling", None) or {})}
    for old, new in (
        ("rope_theta", "rope_theta"),
        ("rotary_emb_base", "rope_theta"),
        ("partial_rotary_factor", "partial_rotary_factor"),
        ("rotary_pct", "partial_rotary_factor"),
    ):
        if old in config:
            parameters[new] = config.pop(old)
    return parameters


def _make(folder: Path, config: dict[str, Any]) -> Path:
    """A random checkpoint of the old spelling; its weights are larger than usual, so that nothing
    that is computed otherwise stays small."""
    folder.mkdir(parents=True)
    mx.random.seed(0)
    base, arguments = _get_classes(config)
    weights: Any = tree_flatten(base(arguments.from_dict(dict(config))).parameters())
    mx.save_safetensors(
        str(folder / "model.safetensors"), {k: v * 3 if v.ndim > 1 else v for k, v in weights}
    )
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _respell(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def _logits(folder: Path, model_config: dict[str, Any] | None = None) -> mx.array:
    model, _ = load_model(folder, model_config=model_config)
    logits: mx.array = model(mx.array([[5, 9, 77, 31, 200, 11, 300, 4] * 8]))
    return logits


def _difference(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> float:
    """How far the logits are apart, read through the folder and through the written config."""
    _respell(folder, old)
    wanted = _logits(folder)
    _respell(folder, new)
    check_config(new)
    loaded = _logits(folder, overrides(folder))
    _respell(folder, normalised(new))
    written = _logits(folder)
    return max(float(mx.abs(found - wanted).max()) for found in (loaded, written))


@pytest.mark.parametrize("model_type", [*_SCALING, *_PLAIN])
def test_the_base_is_read(tmp_path: Path, model_type: str) -> None:
    """Without it, most architectures take a base of their own, and say nothing."""
    old = _BASE | {"model_type": model_type} | (_SCALING | _PLAIN)[model_type]
    folder = _make(tmp_path / "model", old)
    new = dict(old)
    new["rope_parameters"] = _parameters(new)
    assert _difference(folder, old, new) == 0.0


@pytest.mark.parametrize("kind", _SCALINGS)
@pytest.mark.parametrize("model_type", _SCALING)
def test_the_scaling_is_read(tmp_path: Path, model_type: str, kind: str) -> None:
    """With its base, for each form that mlx-lm computes; the old spelling is no longer needed."""
    scaling = {"rope_type": kind} | _SCALINGS[kind]
    old = _BASE | {"model_type": model_type, "rope_scaling": scaling} | _SCALING[model_type]
    folder = _make(tmp_path / "model", old)
    new = dict(old)
    new["rope_parameters"] = _parameters(new)
    assert _difference(folder, old, new) == 0.0


@pytest.mark.parametrize("kind", _SCALINGS)
@pytest.mark.parametrize("model_type", _PLAIN)
@pytest.mark.parametrize("is_new", [False, True])
def test_a_scaling_that_is_not_computed_is_refused(
    model_type: str, kind: str, is_new: bool
) -> None:
    """mlx-lm would ignore it in either spelling."""
    scaling = {"rope_type": kind} | _SCALINGS[kind]
    config = _BASE | {"model_type": model_type, "rope_scaling": scaling} | _PLAIN[model_type]
    if is_new:
        config["rope_parameters"] = _parameters(config)
    if model_type == "phi3" and kind == "linear":
        check_config(config)
        return
    with pytest.raises(NotAModel, match=f"'{model_type}', namely those scaled by '{kind}'"):
        check_config(config)


def test_longrope_of_phi3(tmp_path: Path) -> None:
    """Its original length stands beside the scaling in the old spelling, within it in the new."""
    old = _BASE | {"model_type": "phi3", "rope_scaling": _LONGROPE | {"type": "longrope"}}
    old["original_max_position_embeddings"] = 64
    folder = _make(tmp_path / "model", old)
    new = dict(old)
    new["rope_parameters"] = _parameters(new)
    del new["original_max_position_embeddings"]
    assert _difference(folder, old, new) == 0.0


def test_a_base_that_is_not_read_is_refused() -> None:
    """mlx-lm's RecurrentGemma has one of its own."""
    config = _BASE | {"model_type": "recurrent_gemma"}
    parameters = {"rope_theta": 1e4, "partial_rotary_factor": 0.5}
    check_config(config | {"rope_parameters": parameters})
    with pytest.raises(NotAModel, match="of the base 777"):
        check_config(config | {"rope_parameters": parameters | {"rope_theta": 777.0}})


@pytest.mark.parametrize("model_type", ["phi3", "llama"])
@pytest.mark.parametrize(
    ("said", "is_computed"),
    [
        ({}, True),
        ({"factor": 2.0}, True),  # 128 tokens of 64
        ({"attention_factor": 1.08012}, True),
        ({"factor": 8.0}, False),
        ({"attention_factor": 1.5}, False),
    ],
)
def test_longrope_multiplies_by_what_follows_from_the_lengths(
    model_type: str, said: dict[str, Any], is_computed: bool
) -> None:
    """Whatever else config.json says, so anything else is refused."""
    config = _BASE | {"model_type": model_type, "rope_parameters": _LONGROPE | said}
    if is_computed:
        check_config(config)
    else:
        with pytest.raises(NotAModel, match="'longrope' that multiplies by 1"):
            check_config(config)


def test_longrope_of_neighbouring_pairs_is_refused() -> None:
    """mlx-lm's pairs the halves of a head, where DeepSeek's heads are made of neighbours."""
    config = _BASE | {"model_type": "deepseek_v3"} | _MLA | {"rope_parameters": _LONGROPE}
    with pytest.raises(NotAModel, match="those scaled by 'longrope'"):
        check_config(config)
    check_config(config | {"model_type": "llama"})


def test_gpt_neox_names_them_otherwise(tmp_path: Path) -> None:
    """`rotary_emb_base` and `rotary_pct` are a base and a share of the head."""
    old = _BASE | {
        "model_type": "gpt_neox",
        "layer_norm_eps": 1e-5,
        "rotary_emb_base": 500,
        "rotary_pct": 0.25,
    }
    folder = _make(tmp_path / "model", old)
    new = dict(old)
    new["rope_parameters"] = _parameters(new)
    assert _difference(folder, old, new) == 0.0


@pytest.mark.parametrize("scaling", [None, {"rope_type": "linear", "factor": 8.0}])
def test_gemma3_has_a_base_for_each_type_of_layer(
    tmp_path: Path, scaling: dict[str, Any] | None
) -> None:
    """The scaling is the full layers' own; the sliding ones have a base of their own."""
    old = _BASE | {"model_type": "gemma3_text"} | _SCALING["gemma3_text"]
    old |= {"rope_local_base_freq": 77.0, "rope_scaling": scaling}
    folder = _make(tmp_path / "model", old)
    new = dict(old)
    full = _parameters(new)
    sliding = {"rope_type": "default", "rope_theta": new.pop("rope_local_base_freq")}
    new["rope_parameters"] = {"full_attention": full, "sliding_attention": sliding}
    new["layer_types"] = ["sliding_attention"] * 3 + ["full_attention"]
    del new["sliding_window_pattern"]
    assert _difference(folder, old, new) == 0.0


def test_olmo3_scales_its_full_layers_only(tmp_path: Path) -> None:
    """One base, and YaRN where nothing slides."""
    scaling = {"rope_type": "yarn"} | _SCALINGS["yarn"]
    types = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
    old = _BASE | {"model_type": "olmo3", "sliding_window": 32, "rope_scaling": scaling}
    old["layer_types"] = types
    folder = _make(tmp_path / "model", old)
    new = dict(old)
    full = _parameters(new)
    sliding = {"rope_type": "default", "rope_theta": full["rope_theta"]}
    new["rope_parameters"] = {"full_attention": full, "sliding_attention": sliding}
    assert _difference(folder, old, new) == 0.0


def test_equal_parameters_of_all_types_are_one(tmp_path: Path) -> None:
    """As where a type has no rotary positions at all: Cohere 2's full layers."""
    old = _BASE | {"model_type": "cohere2"} | _PLAIN["cohere2"]
    folder = _make(tmp_path / "model", old)
    new = dict(old)
    new["rope_parameters"] = {"sliding_attention": _parameters(new), "full_attention": None}
    new["layer_types"] = ["sliding_attention"] * 3 + ["full_attention"]
    del new["sliding_window_pattern"]
    assert _difference(folder, old, new) == 0.0


@pytest.mark.parametrize("every", [2, 3, 4])
@pytest.mark.parametrize("model_type", ["gemma3_text", "cohere2"])
def test_layer_types_are_counted(tmp_path: Path, model_type: str, every: int) -> None:
    """mlx-lm reads every how many layers one is full, and would take 6 or 4 otherwise."""
    old = _BASE | {"model_type": model_type} | (_SCALING | _PLAIN)[model_type]
    old |= {"sliding_window_pattern": every, "sliding_window": 8}
    folder = _make(tmp_path / "model", old)
    new = dict(old)
    del new["sliding_window_pattern"]
    new["layer_types"] = [
        "sliding_attention" if (index + 1) % every else "full_attention" for index in range(4)
    ]
    assert _difference(folder, old, new) == 0.0


def test_layers_in_another_order_are_refused() -> None:
    """What mlx-lm cannot count, it would compute wrongly."""
    config = _BASE | {"model_type": "gemma3_text"} | _SCALING["gemma3_text"]
    config["layer_types"] = ["full_attention", "sliding_attention"] * 2
    with pytest.raises(NotAModel, match="every nth is a full one"):
        check_config(config)


@pytest.mark.parametrize(
    ("model_type", "full", "sliding"),
    [
        ("llama", {"rope_theta": 1e6}, {"rope_theta": 1e4}),
        ("olmo3", {"rope_theta": 1e6}, {"rope_theta": 1e4}),
        ("gemma3_text", {"rope_theta": 1e6}, {"rope_theta": 1e4, "rope_type": "linear"}),
        ("gemma3_text", {"rope_theta": 1e6, "rope_type": "of_tomorrow"}, {"rope_theta": 1e4}),
    ],
)
def test_layers_that_are_not_told_apart_are_refused(
    model_type: str, full: dict[str, Any], sliding: dict[str, Any]
) -> None:
    """By name, from config.json alone."""
    config = _BASE | {"model_type": model_type}
    config["rope_parameters"] = {"full_attention": full, "sliding_attention": sliding}
    with pytest.raises(NotAModel, match=f"not computed for models of type '{model_type}'"):
        check_config(config)


def test_a_part_of_a_head_is_refused_where_all_of_it_is_rotated() -> None:
    """mlx-lm's llama rotates whole heads, whatever config.json says."""
    config = _BASE | {"model_type": "llama"}
    config["rope_parameters"] = {"rope_theta": 1e4, "partial_rotary_factor": 0.5}
    with pytest.raises(NotAModel, match="of a part of each head"):
        check_config(config)


def test_a_nested_config_is_read(tmp_path: Path) -> None:
    """A multimodal config has that of its language model within."""
    text = _BASE | {"model_type": "gemma3_text"} | _SCALING["gemma3_text"]
    text["rope_scaling"] = {"rope_type": "linear", "factor": 8.0}
    old = {"model_type": "gemma3", "text_config": text, "vocab_size": 320}
    folder = _make(tmp_path / "model", old)
    new_text = dict(text)
    full = _parameters(new_text)
    sliding = {"rope_type": "default", "rope_theta": 10_000.0}
    new_text["rope_parameters"] = {"full_attention": full, "sliding_attention": sliding}
    assert _difference(folder, old, old | {"text_config": new_text}) == 0.0


def test_scaling_of_llama4_is_read_by_the_outer_module() -> None:
    """Its text_config has a model_type of its own that is another architecture of mlx-lm."""
    scaling = {"rope_type": "llama3"} | _SCALINGS["llama3"]
    text = _BASE | {"model_type": "llama4_text", "rope_scaling": scaling}
    text["rope_parameters"] = _parameters(text)
    found = normalised({"model_type": "llama4", "text_config": text})["text_config"]
    assert isinstance(found, dict)
    assert found["rope_scaling"]["rope_type"] == "llama3"
    assert found["rope_theta"] == 500.0


@pytest.mark.parametrize("model_type", ["gemma4_text", "laguna", "mellum"])
def test_an_architecture_that_reads_each_layer_gets_what_is_there(model_type: str) -> None:
    """mlx-lm's own reading is not anticipated."""
    parameters = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    config = {"model_type": model_type, "rope_parameters": parameters}
    assert normalised(config) == config


def test_attention_factor_of_yarn_is_kept(tmp_path: Path) -> None:
    """mlx-lm reads it as mscale only; OLMo 3's is the one that follows from its factor."""
    scaling = {"rope_type": "yarn"} | _SCALINGS["yarn"]
    old = _BASE | {"model_type": "llama", "rope_scaling": scaling}
    folder = _make(tmp_path / "model", old)
    new = old | {"rope_scaling": scaling | {"attention_factor": 1.138629436111989}}
    assert _difference(folder, old, new) < 1e-4


def test_what_was_spelled_the_old_way_stays() -> None:
    """Nothing is added to a config that says it all."""
    config = _BASE | {"model_type": "llama", "rope_scaling": None}
    assert normalised(config) == config


def test_floats_that_json_does_not_know_arrive_as_floats(tmp_path: Path) -> None:
    """transformers tags them; an override must not bring the tag back."""
    text = _BASE | {"model_type": "llama", "time_step_limit": [0.0, {"__float__": "Infinity"}]}
    text["rope_parameters"] = _parameters(text)
    _respell(tmp_path, {"model_type": "mistral3", "text_config": text})
    found = overrides(tmp_path)["text_config"]
    assert isinstance(found, dict)
    assert found["time_step_limit"] == [0.0, float("inf")]


@pytest.mark.parametrize("kind", ["llama3", "yarn", "linear"])
def test_the_old_spelling_is_read_where_only_the_new_one_is(tmp_path: Path, kind: str) -> None:
    """MiniMax-M3's module takes its scaling from `rope_parameters` alone."""
    folder = make("minimax_m3_vl", tmp_path)
    config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    scaling = {"rope_type": kind} | _SCALINGS[kind]
    text = config["text_config"]
    _respell(folder, config | {"text_config": text | {"rope_scaling": scaling}})
    found = _logits(folder, overrides(folder))
    parameters = scaling | {"rope_theta": text["rope_theta"]}
    _respell(folder, config | {"text_config": text | {"rope_parameters": parameters}})
    assert mx.array_equal(found, _logits(folder))
    _respell(folder, config)
    assert not mx.allclose(found, _logits(folder), atol=0.01)
