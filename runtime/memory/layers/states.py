"""Numbers in the state of one layer: of state-space models, linear attention, convolutions."""

from .arguments import Arguments


def state_numbers(model: Arguments) -> int:
    """Of one row, whatever its length. Raises ValueError where config.json says too little."""
    match model.architecture:
        case "rwkv7":
            return model.size * (2 + model.head_size)
        case "recurrent_gemma":
            width = model.number("lru_width") or model.size
            return width * model.needed("conv1d_width")
        case "lfm2" | "lfm2_moe" | "lfm2-vl":
            return model.size * (model.needed("conv_L_cache") - 1)
        case "gear":
            return 2 * model.num_kv_heads * model.head_size * (model.needed("conv_L_cache") - 1)
        case "baichuan_m1":
            return 2 * model.num_kv_heads * model.head_size
        case "bailing_moe_linear" | "bailing_hybrid":
            return model.num_heads * model.head_size**2
        case "kimi_linear" | "kimi_k3" | "bailing_moe_v3":
            return _delta_attention(model)
    if (values := model.number("linear_num_value_heads")) is not None:
        return _gated_delta(model, values)
    return _mamba(model)


def _delta_attention(model: Arguments) -> int:
    """Kimi's: queries, keys and values each behind a convolution."""
    said = model.nested("linear_attn_config")
    heads, size = said.get("num_heads"), said.get("head_dim")
    kernel = said.get("short_conv_kernel_size") or model.number("short_conv_kernel_size") or 4
    heads = heads if isinstance(heads, int) else model.num_heads
    size = size if isinstance(size, int) else model.head_size
    assert isinstance(kernel, int)
    return heads * size * (3 * (kernel - 1) + size)


def _gated_delta(model: Arguments, num_values: int) -> int:
    """Qwen 3 Next's: one convolution over all three."""
    num_keys = model.needed("linear_num_key_heads")
    key, value = model.needed("linear_key_head_dim"), model.needed("linear_value_head_dim")
    width = 2 * num_keys * key + num_values * value
    return width * (model.needed("linear_conv_kernel_dim") - 1) + num_values * key * value


def _mamba(model: Arguments) -> int:
    """A convolution, and a state for each channel: Mamba's, or with heads and groups, Mamba 2's."""
    kernel = model.needed("conv_kernel", "mamba_d_conv", "d_conv") - 1
    state = mamba_state_size(model)
    groups = model.number("mamba_n_groups", "n_groups") or 0
    if (heads := mamba_heads(model)) is not None:
        inner = heads * mamba_head_size(model)
    elif (expand := model.number("mamba_expand")) is not None:
        inner = expand * model.size
    else:
        inner = model.needed("intermediate_size", "d_inner")
    return (inner + 2 * groups * state) * kernel + inner * state


def mamba_heads(model: Arguments) -> int | None:
    """Heads of Mamba 2; None where there are none."""
    if model.architecture == "mamba2":
        return model.number("num_heads")
    return model.number("mamba_n_heads", "mamba_num_heads")


def mamba_head_size(model: Arguments) -> int:
    """Channels of each head of Mamba 2."""
    sizes = "mamba_d_head", "mamba_head_dim", "hidden_size_per_head"
    return model.number(*sizes) or model.head_size


def mamba_state_size(model: Arguments) -> int:
    """Numbers in the state of each channel."""
    return model.needed("ssm_state_size", "state_size", "mamba_d_state", "d_state")
