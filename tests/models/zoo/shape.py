"""What the zoo's configs have in common: tiny sizes, and the parts that many families share."""

from typing import TypeAlias

Config: TypeAlias = dict[str, object]

VOCAB_SIZE = 320
WINDOW = 12  # tokens; short, so that prompts of a few dozen go past it
SLIDING, FULL = "sliding_attention", "full_attention"

YARN: Config = {
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32,
    "beta_slow": 1,
}
LATENT: Config = {
    "num_key_value_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "qk_nope_head_dim": 16,
}
ROUTED: Config = {
    "moe_intermediate_size": 48,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "routed_scaling_factor": 1.0,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "attention_bias": False,
}
GATED_DELTA: Config = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
}
DELTA_ATTENTION: Config = {
    "linear_attn_config": {
        "full_attn_layers": [2, 4],
        "kda_layers": [1, 3],
        "head_dim": 16,
        "num_heads": 4,
        "short_conv_kernel_size": 4,
    }
}
FOUR_EXPERTS: Config = {"num_experts": 4, "num_experts_per_tok": 2}


def decoder(model_type: str, **arguments: object) -> Config:
    """A decoder in the usual words; `arguments` come on top."""
    return {
        "model_type": model_type,
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "vocab_size": VOCAB_SIZE,
        "max_position_embeddings": 8192,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        **arguments,
    }


def config(model_type: str, **arguments: object) -> Config:
    """One that has words of its own."""
    return {"model_type": model_type, **arguments}


def wrapper(model_type: str, text_config: Config, **arguments: object) -> Config:
    """A model of images and text; there is nothing but its text model here."""
    return {"model_type": model_type, "text_config": text_config, **arguments}
