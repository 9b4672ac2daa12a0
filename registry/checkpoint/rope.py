"""Rotary positions in config.json: transformers 5's `rope_parameters`, in the words of mlx-lm.

transformers 5 writes base, scaling and share of a head into one object, or into one for each type
of layer (its modeling_rope_utils.py). Most architectures of mlx-lm know `rope_theta` and
`rope_scaling` only, and would take their defaults without a word.
"""

import math

from registry.errors import NotAModel

from .architectures import mentions
from .config import Config

# The same thing under the names that different architectures give it.
_BASES = ("rope_theta", "rotary_emb_base", "rope_embedding_base")
_LOCAL_BASES = ("rope_local_base_freq", "rope_local_theta", "swa_rope_theta")
_SHARES = ("partial_rotary_factor", "rotary_pct")

_FULL, _SLIDING = "full_attention", "sliding_attention"
_ROTATES = r"\bRoPE\(|\binitialize_rope\("
_READS_SHARE = r"partial_rotary|rotary_pct|rotary_dim|rotary_percent|qk_rope_head_dim"
_ROTATES_HALVES = frozenset({"recurrent_gemma"})  # of the base 10,000, whatever config.json says
_FIXED_BASE = 10_000
_READS_EACH_LAYER = r"rope_parameters\b[^\n]*\blayer_(type|key)\b"
_SCALES_BY_PARAMETERS = r"scaling_config=[\w.]*\brope_parameters"
_SCALES_FULL_LAYERS_ONLY = frozenset({"olmo3"})

_NO_SCALING = ("default", "mrope")  # the sections of mrope matter to pictures only
_LONGROPE = frozenset({"longrope", "su"})
_MAX_ERROR = 1e-3  # of a written number that was computed before it was rounded
# rope_utils.initialize_rope, which most architectures call with the scaling that they are given.
_INITIALIZES = r"(?s)initialize_rope\(.{0,250}?(\.rope_scaling|\.rope_parameters|scaling_config=)"
_INITIALIZED = _LONGROPE - {"su"} | {
    *("linear", "dynamic", "llama3", "yarn", "deepseek_yarn", "telechat3-yarn", "proportional"),
}
_PAIRS_NEIGHBOURS = r"traditional=True"
# Those that scale by code of their own, and what they compute; all others are ignored by them.
_OWN_SCALINGS: dict[str, frozenset[str]] = {
    "deepseek": frozenset({"linear"}),
    "deepseek_v2": frozenset({"yarn", "deepseek_yarn"}),
    "deepseek_v41": frozenset({"yarn", "deepseek_yarn"}),
    "hunyuan": frozenset({"dynamic"}),
    "hunyuan_v1_dense": frozenset({"dynamic"}),
    "internlm2": frozenset({"linear", "dynamic"}),
    "internlm3": frozenset({"linear", "dynamic"}),
    "minicpm3": _LONGROPE,
    "nemotron": frozenset({"linear"}),
    "phi3": _LONGROPE | {"linear"},
    "phimoe": _LONGROPE,
}


def lifted(config: Config, architecture: str) -> Config:
    """The config with its rotary positions in the fields that `architecture` reads.

    Raises NotAModel for a form that the architecture would not compute: its answers would be wrong.
    """
    _check_share(config, architecture)
    parameters = config.get("rope_parameters")
    if not isinstance(parameters, dict) or not parameters:
        config = _with_scaling(config, config.get("rope_scaling"), architecture)
        if config.get("rope_scaling") and mentions(architecture, _SCALES_BY_PARAMETERS):
            config = config | {"rope_parameters": config["rope_scaling"]}
        return config
    by_layer = {key: value for key, value in parameters.items() if isinstance(value, dict)}
    if not by_layer:
        return _flat(config, parameters, architecture)
    if mentions(architecture, _READS_EACH_LAYER):
        return config
    return _layered(config, by_layer, architecture)


def _layered(config: Config, by_layer: dict[str, Config], architecture: str) -> Config:
    """Of one set of parameters for each type of layer."""
    first, *others = by_layer.values()
    if all(other == first for other in others):
        return _flat(config, first, architecture)
    if set(by_layer) != {_FULL, _SLIDING}:
        raise _refusal(f"different ones for {' and '.join(sorted(by_layer))}", architecture)
    full, sliding = by_layer[_FULL], by_layer[_SLIDING]
    local_base = next((name for name in _LOCAL_BASES if mentions(architecture, name)), None)
    has_one_base = full.get("rope_theta") == sliding.get("rope_theta")
    if _type_of(sliding) not in _NO_SCALING or _share(full) != _share(sliding):
        raise _refusal("scaled or partial ones in its sliding layers only", architecture)
    if local_base is None and not (has_one_base and architecture in _SCALES_FULL_LAYERS_ONLY):
        raise _refusal("different ones for its full and its sliding layers", architecture)
    config = _flat(config, full, architecture)
    return config if local_base is None else config | {local_base: sliding.get("rope_theta")}


def _flat(config: Config, parameters: Config, architecture: str) -> Config:
    """Of one set of parameters for all layers. As in transformers, a `rope_scaling` beats it."""
    _check_share(parameters, architecture)
    given = config.get("rope_scaling")
    config = dict(config)
    if parameters.get("rope_theta", _FIXED_BASE) != _FIXED_BASE and architecture in _ROTATES_HALVES:
        raise _refusal(f"of the base {parameters['rope_theta']}", architecture)
    if (base := parameters.get("rope_theta")) is not None:
        names = [name for name in _BASES[1:] if mentions(architecture, name)]
        config |= dict.fromkeys(["rope_theta", *names], base)
    if (share := parameters.get("partial_rotary_factor")) is not None:
        config |= {name: share for name in _SHARES if mentions(architecture, name)}
    _set_rotary_dim(config, _share(parameters), architecture)
    original = parameters.get("original_max_position_embeddings")
    if original is not None and mentions(architecture, "original_max_position_embeddings:"):
        config.setdefault("original_max_position_embeddings", original)
    return _with_scaling(config, given or parameters, architecture)


def _set_rotary_dim(config: Config, share: object, architecture: str) -> None:
    """For those that count the rotated dimensions of a head, such as MiniMax."""
    size, heads = config.get("hidden_size"), config.get("num_attention_heads")
    head_dim = config.get("head_dim")
    if head_dim is None and isinstance(size, int) and isinstance(heads, int) and heads > 0:
        head_dim = size // heads
    if (
        isinstance(share, int | float)
        and isinstance(head_dim, int)
        and mentions(architecture, r"\brotary_dim:")
    ):
        config.setdefault("rotary_dim", int(head_dim * share))


def _with_scaling(config: Config, scaling: object, architecture: str) -> Config:
    """With `rope_scaling`, or with None if nothing is scaled."""
    if not isinstance(scaling, dict) or not scaling:
        return config
    kind = _type_of(scaling)
    factor = scaling.get("factor")
    if kind in _NO_SCALING and "alpha" not in scaling:
        return config if config.get("rope_scaling") else config | {"rope_scaling": None}
    if kind == "linear" and factor == 1:
        return config | {"rope_scaling": None}
    if kind not in _scalings_of(architecture) and not (kind in _NO_SCALING and "alpha" in scaling):
        raise _refusal(f"those scaled by {kind!r}", architecture)
    if kind in _LONGROPE:
        _check_longrope(config, scaling, architecture)
    kept = {
        key: value
        for key, value in scaling.items()
        if key not in ("rope_theta", "partial_rotary_factor") and value is not None
    }
    kept |= {"type": kind, "rope_type": kind}
    if type(factor) is int:  # two architectures insist on a float
        kept["factor"] = float(factor)
    if kind in ("yarn", "llama3") and (length := config.get("max_position_embeddings")):
        kept.setdefault("original_max_position_embeddings", length)
    _set_mscale(kept)
    return config | {"rope_scaling": kept}


def _check_longrope(config: Config, scaling: Config, architecture: str) -> None:
    """mlx-lm's LongRoPE multiplies what is rotated by what follows from both lengths, whatever
    `factor` and `attention_factor` say (transformers' _compute_longrope_parameters)."""
    longest = config.get("max_position_embeddings")
    original = scaling.get("original_max_position_embeddings") or config.get(
        "original_max_position_embeddings"
    )
    if not isinstance(longest, int) or not isinstance(original, int) or original < 2:
        return
    computed = _longrope_scale(longest / original, original)
    factor, said = scaling.get("factor"), scaling.get("attention_factor")
    if said is None and isinstance(factor, int | float):
        said = _longrope_scale(factor, original)
    if isinstance(said, int | float) and abs(said - computed) > _MAX_ERROR:
        raise _refusal(
            f"'longrope' that multiplies by {said:.4g}, not {computed:.4g}", architecture
        )


def _longrope_scale(factor: float, original: int) -> float:
    return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0


def _set_mscale(scaling: Config) -> None:
    """YaRN's attention_factor, which mlx-lm does not read, as the mscale that gives the same."""
    wanted, factor = scaling.get("attention_factor"), scaling.get("factor")
    if (
        scaling["type"] == "yarn"
        and isinstance(wanted, int | float)
        and isinstance(factor, float)
        and factor > 1
        and not scaling.get("mscale_all_dim")
    ):
        scaling["mscale"] = (wanted - 1) / (0.1 * math.log(factor))


def _scalings_of(architecture: str) -> frozenset[str]:
    if (own := _OWN_SCALINGS.get(architecture)) is not None:
        return own
    if not mentions(architecture, _INITIALIZES):
        return frozenset()
    if mentions(architecture, _PAIRS_NEIGHBOURS):  # LongRoPE pairs halves, whatever it is told
        return _INITIALIZED - _LONGROPE
    return _INITIALIZED


def _check_share(parameters: Config, architecture: str) -> None:
    """A part of each head is rotated only by those that read how large it is."""
    share = _share(parameters)
    if (
        share != 1
        and mentions(architecture, _ROTATES)
        and not mentions(architecture, _READS_SHARE)
        and not (share == 0.5 and architecture in _ROTATES_HALVES)
    ):
        raise _refusal(f"of a part of each head ({share})", architecture)


def _type_of(parameters: Config) -> str:
    return str(parameters.get("rope_type") or parameters.get("type") or "default")


def _share(parameters: Config) -> object:
    return parameters.get("partial_rotary_factor") or 1.0


def _refusal(what: str, architecture: str) -> NotAModel:
    return NotAModel(
        f"config.json asks for rotary positions that are not computed for models of type "
        f"'{architecture}', namely {what}; its answers would be wrong, so choose another model."
    )
