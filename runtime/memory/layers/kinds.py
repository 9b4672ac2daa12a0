"""Which layers of a model keep all tokens, which a window of them, and which only a state."""

from typing import Literal, TypeAlias

from registry.checkpoint.architectures import mentions

from .arguments import Arguments

Kind: TypeAlias = Literal["full", "window", "state"]

# All layers of these are states, whatever their config.json says of attention.
_STATES = frozenset({"mamba", "mamba2", "rwkv7"})
# How layers are called in `layer_types` and `block_types`.
_WORDS: dict[str, Kind] = {
    "full_attention": "full",
    "attention": "full",
    "sliding_attention": "window",
    "linear_attention": "state",
    "mamba": "state",
    "conv": "state",
    "conv_mixer": "state",
    "recurrent": "state",
}
_LETTERS: dict[str, Kind] = {"M": "state", "*": "full"}  # Nemotron-H: the others are MLPs
# Where nothing is said: how often a layer is a full one.
_FULL_EVERY = {"olmo3": 4, "plamo3": 8, "gpt_oss": 2, "afmoe": 4}


def kinds_of(model: Arguments) -> list[Kind]:
    """Of each layer that has a cache. What cannot be told is full, which takes the most."""
    count = model.num_layers
    if model.architecture in _STATES:
        return ["state"] * count
    if model.has_plain_caches:
        return ["full"] * count
    shared = model.number("num_kv_shared_layers", "num_kv_reuse_layers") or 0
    kinds = _named(model, count) or _counted(model, count) or ["full"] * count
    return kinds[: len(kinds) - shared] * (model.number("num_loops") or 1)


def window_of(model: Arguments) -> int:
    """How many tokens a layer with a window keeps."""
    return model.needed(
        "sliding_window",
        "sliding_window_size",
        "attention_window_size",
        "window_size",
        "loop_window_size",
        "attention_chunk_size",
    )


def _named(model: Arguments, count: int) -> list[Kind] | None:
    """As config.json names each layer."""
    if isinstance(letters := model.get("hybrid_override_pattern"), str | list):
        return [_LETTERS[letter] for letter in letters if letter in _LETTERS]
    if isinstance(pattern := model.get("hybrid_layer_pattern"), list):
        return ["window" if sliding else "full" for sliding in pattern]
    if isinstance(blocks := model.get("block_types"), list) and blocks:  # Recurrent Gemma
        kinds: list[Kind] = ["state" if block == "recurrent" else "window" for block in blocks]
        return [kinds[index % len(kinds)] for index in range(count)]
    types = model.get("layer_types")
    if not isinstance(types, list) or not mentions(model.architecture, r"\blayer_types\b"):
        return None
    return [_WORDS.get(str(kind), "full") for kind in types[:count]]


def _counted(model: Arguments, count: int) -> list[Kind] | None:
    """As config.json counts them."""
    layers = range(count)
    linear = model.nested("linear_attn_config")
    if isinstance(full := linear.get("full_attn_layers"), list):
        return ["full" if index + 1 in full else "state" for index in layers]
    for name in ("full_attn_idxs", "full_attention_idx"):
        if isinstance(full := model.get(name), list) and model.architecture != "plamo2":
            return ["full" if index in full else "state" for index in layers]
    if model.architecture == "plamo2":
        return _of_plamo(model, count)
    if group := model.number("layer_group_size"):  # Bailing: the last of each, and an odd rest
        whole = count // group * group
        return ["full" if (i + 1) % group == 0 or i >= whole else "state" for i in layers]
    if every := model.number("full_attention_interval"):
        return _every(every, count, "state")
    if every := model.number("attn_layer_period"):
        offset = model.number("attn_layer_offset") or 0
        return ["full" if index % every == offset else "state" for index in layers]
    if isinstance(windows := model.get("sliding_window_layers"), list):
        return ["window" if index in windows else "full" for index in layers]
    return _windowed(model, count)


def _windowed(model: Arguments, count: int) -> list[Kind] | None:
    if model.architecture == "llama4":
        return _every(4, count, "window")
    if model.architecture == "iquestloopcoder":
        return [*_every(1, count, "full"), *_every(count + 1, count, "window")]
    if not mentions(model.architecture, r"\bRotatingKVCache\("):
        return None
    pattern = model.get("sliding_window_pattern")
    if isinstance(pattern, str) and pattern:
        letters = (pattern * count)[:count]
        found: list[Kind] = ["window" if letter == "L" else "full" for letter in letters]
        return found
    every = pattern if isinstance(pattern, int) else _FULL_EVERY.get(model.architecture)
    return _every(every, count, "window") if every else None


def _every(number: int, count: int, others: Kind) -> list[Kind]:
    """Every layer of this number is a full one."""
    return ["full" if (index + 1) % number == 0 else others for index in range(count)]


def _of_plamo(model: Arguments, count: int) -> list[Kind]:
    step = model.number("mamba_step") or 2
    last = count - 1 if count <= step // 2 else None
    return ["full" if i == last or i % step == step // 2 else "state" for i in range(count)]
