"""Arguments as transformers 5 writes them, or leaves them out, are those that mlx-lm reads."""

from typing import Any

import pytest
from mlx_lm.utils import _get_classes

from registry.checkpoint.spelling import normalised
from tests.models.zoo.checkpoints import CONFIGS

# What is left out in each, and what stands there instead.
_NEW: dict[str, tuple[list[str], dict[str, Any]]] = {
    "qwen3_moe": (["num_experts", "head_dim"], {"num_local_experts": 4}),
    "mellum": (["num_experts"], {"num_local_experts": 4}),
    "glm4_moe": (["head_dim", "rope_scaling"], {}),
    "exaone4": (["head_dim"], {}),
    "exaone_moe": (["head_dim", "is_moe_layer"], {"mlp_layer_types": []}),
    "falcon_h1": (["head_dim"], {}),
    "apertus": (["mlp_bias", "post_norm", "qk_norm"], {}),
    "gpt2": (["n_ctx"], {}),
    "lfm2": (["block_dim"], {}),
    "exaone": (["num_layers", "layer_norm_epsilon"], {}),
    "minimax": (["shared_intermediate_size"], {}),
    "solar_open": (["intermediate_size", "first_k_dense_replace"], {}),
    "glm_moe_dsa": (["topk_method", "scoring_func", "moe_layer_freq"], {}),
    "granitemoehybrid": ([], {}),
}
# Nothing is computed of these, or it is the matter of `rope`.
_OTHERS = {"shared_intermediate_size", "intermediate_size", "n_ctx", "rope_scaling"}


@pytest.mark.parametrize("model_type", _NEW)
def test_they_are_told_from_the_rest(model_type: str) -> None:
    old: dict[str, Any] = dict(CONFIGS[model_type])
    missing, instead = _NEW[model_type]
    size, heads = old.get("hidden_size"), old.get("num_attention_heads")
    if "head_dim" in missing and size and heads:
        old["head_dim"] = size // heads
    if model_type == "solar_open":
        old["first_k_dense_replace"] = 0  # it has no other layers in transformers
    if model_type == "exaone":
        instead = {
            "num_hidden_layers": old["num_layers"],
            "rms_norm_eps": old["layer_norm_epsilon"],
        }
    if model_type == "exaone_moe":
        instead = {"mlp_layer_types": ["sparse" if m else "dense" for m in old["is_moe_layer"]]}
    if model_type == "granitemoehybrid":
        kinds = {"mamba": "linear_attention", "attention": "full_attention"}
        instead |= {"layer_types": [kinds[kind] for kind in old["layer_types"]]}
    new = {key: value for key, value in old.items() if key not in missing} | instead
    _, arguments = _get_classes(dict(old))
    found, wanted = (vars(arguments.from_dict(c)) for c in (dict(normalised(new)), dict(old)))
    assert set(found) == set(wanted)
    for name in set(wanted) - _OTHERS:
        assert found[name] == wanted[name], name


@pytest.mark.parametrize("kind", [None, "nope"])
def test_granite_rotates_only_where_it_says_so(kind: str | None) -> None:
    """mlx-lm takes None for "rope", and config.json has None where nothing is rotated."""
    config = dict(CONFIGS["granitemoehybrid"]) | {"position_embedding_type": kind}
    assert normalised(config)["position_embedding_type"] == "nope"


@pytest.mark.parametrize("model_type", sorted(set(CONFIGS) - {"granitemoehybrid"}))
def test_what_is_there_stays(model_type: str) -> None:
    """A config in mlx-lm's own words gives the arguments that it gave."""
    config: Any = CONFIGS[model_type]
    found = normalised(config)
    assert all(
        found[key] == value
        for key, value in config.items()
        if "rope" not in key and not isinstance(value, dict)
    )


def test_rotated_dimensions_follow_from_the_head() -> None:
    """MiniMax-M2 counts them, and transformers 5 writes a share of the head, if it is not 1."""
    config: dict[str, Any] = dict(CONFIGS["minimax"])
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    config.pop("rotary_dim")
    for share in (1.0, 0.5):
        parameters = {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": share}
        if share == 1.0:
            del parameters["partial_rotary_factor"]
        found = normalised(config | {"rope_parameters": parameters})
        assert found["rotary_dim"] == int(head_dim * share)
