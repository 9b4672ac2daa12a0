"""The shape of a model's cache by its config.json: never smaller than what an engine finds.

A test holds both against each other, for every architecture that mlx-lm has.
"""

from collections.abc import Mapping

from registry.checkpoint.cache_shape import CacheShape, Window
from registry.checkpoint.config import MISREAD
from runtime.memory.kv import STEP_TOKENS

from .arguments import Arguments
from .kinds import kinds_of, window_of
from .states import state_numbers

_STATE_NUMBER_BYTES = 4  # recurrences are computed in float32, whatever the rest is

# Latent attention (MLA) that keeps the keys and values that it makes, in place of the latent.
_UNFOLDED = frozenset({"deepseek_v2", "minicpm3", "youtu_llm"})
_INDEXED = frozenset({"deepseek_v32", "glm_moe_dsa"})  # keys of an index, and as many values


def cache_shape(config: Mapping[str, object], number_bytes: int) -> CacheShape:
    """What a row's cache takes, in numbers of so many bytes.

    Raises ValueError where config.json says too little.
    """
    try:
        return _cache_shape(Arguments(config), number_bytes)
    except MISREAD as error:
        raise ValueError(f"config.json does not tell what a cache takes: {error}") from None


def _cache_shape(model: Arguments, number_bytes: int) -> CacheShape:
    if model.architecture == "deepseek_v41":
        return _of_deepseek_v41(model, number_bytes)
    if isinstance(blocks := model.get("block_configs"), list):
        return CacheShape(number_bytes * _of_blocks(model, blocks))
    kinds = kinds_of(model)
    full, windowed = kinds.count("full"), kinds.count("window")
    numbers = full * _full_numbers(model) if full else 0
    token_bytes = number_bytes * (numbers + _index_numbers(model))
    windows: tuple[Window, ...] = ()
    if windowed:
        size = number_bytes * windowed * _window_numbers(model)
        # What is cut into chunks is cut when more is read: it grows beyond them by a step.
        more = STEP_TOKENS if model.architecture == "llama4" else 0
        windows = (Window(window_of(model) + more, size),)
    num_states = kinds.count("state") or (len(kinds) if _has_both(model) else 0)
    states = _STATE_NUMBER_BYTES * num_states * state_numbers(model) if num_states else 0
    if model.architecture == "longcat_flash_ngram":
        states += 8 * (model.number("emb_neighbor_num") or 0)  # the last tokens' ids
    return CacheShape(token_bytes, windows, states)


def _has_both(model: Arguments) -> bool:
    """Whether each layer has a state beside its keys and values."""
    return model.architecture in ("falcon_h1", "baichuan_m1")


def _full_numbers(model: Arguments) -> int:
    """Numbers of one token in one layer that keeps all of them."""
    if (rank := model.number("kv_lora_rank")) is not None:
        rotated = model.number("qk_rope_head_dim") or 0
        if model.architecture in _UNFOLDED:
            unrotated = model.number("qk_nope_head_dim") or 0
            value = model.number("v_head_dim") or model.head_size
            return model.num_heads * (unrotated + rotated + value)
        twice = 2 if model.architecture.startswith("longcat_flash") else 1
        return twice * (rank + rotated)
    heads = model.num_kv_heads
    if size := model.number("global_head_dim"):  # Gemma 4
        if model.get("attention_k_eq_v") is True:
            heads = model.number("num_global_key_value_heads") or heads
        return heads * 2 * size
    return heads * (model.head_size + (model.number("v_head_dim") or model.head_size))


def _window_numbers(model: Arguments) -> int:
    """The same of a layer with a window, where its heads are others."""
    other = model.nested("attention_other_setting")  # Step 3.5
    heads, size = other.get("num_attention_groups"), other.get("head_dim")
    if isinstance(heads, int) and isinstance(size, int):
        return heads * 2 * size
    swa_heads = model.number("swa_num_key_value_heads", "num_swa_key_value_heads")
    own = model.num_kv_heads if swa_heads is None else swa_heads
    if model.number("num_swa_attention_heads"):
        return own * 2 * (model.size // model.needed("num_swa_attention_heads"))
    size = model.number("swa_head_dim") or model.head_size
    return own * (size + (model.number("swa_v_head_dim", "v_head_dim") or size))


def _index_numbers(model: Arguments) -> int:
    """Numbers of one token in all indices that choose what attention looks at."""
    if (size := model.number("index_head_dim")) is None:
        return 0
    if model.architecture in _INDEXED:
        return model.num_layers * 2 * size
    if model.architecture == "minimax_m3_vl":
        types = model.get("layer_types")
        sparse = "minimax_m3_sparse"
        return size * (types.count(sparse) if isinstance(types, list) else model.num_layers)
    return 0


def _of_blocks(model: Arguments, blocks: list[object]) -> int:
    """Nemotron-NAS: each layer has heads of its own, or none."""
    numbers = 0
    for block in blocks:
        attention = block.get("attention") if isinstance(block, dict) else None
        shared = attention.get("n_heads_in_group") if isinstance(attention, dict) else None
        if isinstance(shared, int) and shared > 0:
            numbers += model.num_heads // shared * 2 * model.head_size
    return numbers


def _of_deepseek_v41(model: Arguments, number_bytes: int) -> CacheShape:
    """A window in each layer, and in some all tokens, several in one."""
    ratios, sources = model.get("compress_ratios"), model.get("kv_source_layer_ids")
    size, index = model.head_size, model.number("index_head_dim") or 0
    numbers = state = 0.0
    for layer in sources if isinstance(sources, list) else []:
        ratio = ratios[layer] if isinstance(ratios, list) and layer < len(ratios) else 1
        numbers += (size + index) / max(1, ratio)
        state += 2 * size * max(0, ratio - 1)  # the tokens of the one that is not full yet
    window = Window(model.needed("sliding_window"), number_bytes * size * model.num_layers)
    return CacheShape(
        number_bytes * -int(-numbers // 1), (window,), _STATE_NUMBER_BYTES * int(state)
    )
