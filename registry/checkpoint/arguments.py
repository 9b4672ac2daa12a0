"""Arguments of mlx-lm's architectures that transformers 5 names otherwise, or no longer writes.

It renamed some, and leaves out what follows from others or has one value only.
"""

from collections.abc import Mapping

from .architectures import mentions
from .config import Config

# The same thing under the names that different architectures give it.
_SYNONYMS = (
    ("num_experts", "num_local_experts", "n_routed_experts"),
    ("num_experts_per_tok", "num_experts_per_token"),
    ("n_ctx", "n_positions", "max_position_embeddings"),
    ("num_layers", "num_hidden_layers"),
    ("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps"),
    ("block_dim", "hidden_size"),
)
# What has one value in transformers.
_ONLY: dict[str, Config] = {
    "apertus": {"mlp_bias": False, "post_norm": False, "qk_norm": True},
    "glm4_moe": {"rope_scaling": None},
    "glm_moe_dsa": {"topk_method": "noaux_tc", "scoring_func": "sigmoid", "moe_layer_freq": 1},
    "minimax": {"shared_intermediate_size": 0},
    "solar_open": {
        "intermediate_size": 0,
        "first_k_dense_replace": 0,
        "partial_rotary_factor": 1.0,
    },
}
_LAYERS = {"linear_attention": "mamba", "full_attention": "attention"}


def renamed(config: Config, architecture: str) -> Config:
    """The config with what the architecture asks for, where it can be told from the rest."""
    added: Config = {}
    for names in _SYNONYMS:
        found = next((config[name] for name in names if config.get(name) is not None), None)
        if found is not None:
            added |= {name: found for name in names if _reads(architecture, name)}
    added |= _ONLY.get(architecture, {})
    if _reads(architecture, "head_dim") and (head_dim := _head_dim(config)) is not None:
        added["head_dim"] = head_dim
    said = {key: value for key, value in config.items() if key not in added or value is not None}
    return _with_layers(added | said, architecture)


def _reads(architecture: str, name: str) -> bool:
    """Whether it is an argument that has to be there, or has a number for its default."""
    return mentions(architecture, rf"(?m)^    {name}: (int|float)( = \d+)?$")


def _head_dim(config: Mapping[str, object]) -> int | None:
    size, heads = config.get("hidden_size"), config.get("num_attention_heads")
    return size // heads if isinstance(size, int) and isinstance(heads, int) and heads else None


def _with_layers(config: Config, architecture: str) -> Config:
    """With the kinds of layers in mlx-lm's words, for Granite 4 and EXAONE's mixtures."""
    kinds, mixtures = config.get("layer_types"), config.get("mlp_layer_types")
    if architecture == "granitemoehybrid" and isinstance(kinds, list):
        is_rotated = config.get("position_embedding_type") == "rope"
        return config | {
            "layer_types": [_LAYERS.get(kind, kind) for kind in kinds],
            "position_embedding_type": "rope" if is_rotated else "nope",
        }
    if mentions(architecture, r"\bis_moe_layer:") and isinstance(mixtures, list):
        is_mixture = [kind == "sparse" for kind in mixtures]
        return {"is_moe_layer": is_mixture} | config
    return config
