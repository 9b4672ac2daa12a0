"""What tells that an encoder is computed in another way than its family is, or has no family.

A key that a network does not read is no matter, unless it changes what is computed: then every
vector would be wrong, and nobody would see it.
"""

import re
from collections.abc import Mapping

from .family import Family

# Keys that change the computation of a family that does not read them, and values beside null,
# false, zero and nothing at which they do not.
_CHANGING: dict[str, tuple[object, ...]] = {
    # What a token sees.
    **dict.fromkeys(("is_decoder", "is_causal", "causal", "is_encoder_decoder"), ()),
    **dict.fromkeys(("add_cross_attention", "use_cross_attention", "pruned_heads"), ()),
    **dict.fromkeys(("sliding_window", "attention_window", "logn_attention_scale"), ()),
    **dict.fromkeys(("scale_attn_by_inverse_layer_idx", "use_qk_norm", "qk_norm"), ()),
    # Positions.
    "position_embedding_type": ("absolute",),
    **dict.fromkeys(("rotary_emb_base", "rotary_emb_fraction", "rotary_emb_dim"), ()),
    **dict.fromkeys(("rotary_emb_scale_base", "rotary_scaling_factor", "use_rotary"), ()),
    **dict.fromkeys(("rope_theta", "rope_scaling", "rope_parameters"), ()),
    **dict.fromkeys(("use_alibi", "alibi", "relative_attention", "max_relative_positions"), ()),
    "relative_attention_num_buckets": (),
    # Layers.
    "feed_forward_type": ("original",),
    "layer_norm_type": ("layer_norm",),
    **dict.fromkeys(("prenorm", "parallel_block", "parallel_block_tied_norm", "use_rms_norm"), ()),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_experts", "moe_every_n_layers"), ()),
    # Matrices that are added to others.
    "lora_adaptations": (),
}
# Encoders of transformers that have no family here, as far as people embed or rank with them.
_OTHER_TYPES = frozenset(
    {
        *("albert", "big_bird", "canine", "convbert", "deberta", "deberta-v2", "electra", "ernie"),
        *("eurobert", "fnet", "funnel", "ibert", "jina_embeddings_v3", "layoutlm", "longformer"),
        *("luke", "megatron-bert", "mobilebert", "mra", "mt5", "new", "nezha", "nystromformer"),
        *("rembert", "roberta-prelayernorm", "roformer", "squeezebert", "t5", "umt5", "xlm"),
        *("xlm-roberta-xl", "xlnet", "xmod", "yoso"),
    }
)
_CLASS = r"(Model|Encoder|EncoderModel|PreTrainedModel|LMHeadModel|For[A-Z]\w*)?"


def check(family: type[Family], config: Mapping[str, object]) -> None:
    """Raises ValueError for a config.json that wants another computation than the family's."""
    _check_code(family, config)
    read = family.__struct_fields__
    for key, neutral in _CHANGING.items():
        value = config.get(key)
        if key not in read and value and value not in neutral:
            raise ValueError(
                f"{key} is {repr(value)[:100]}, which is not computed here for models of type "
                f"'{config.get('model_type')}'"
            )


def is_encoder(config: Mapping[str, object]) -> bool:
    """Whether a model of no known type is an encoder; most were trained to guess masked words."""
    names = config.get("architectures")
    guesses = isinstance(names, list) and any(str(name).endswith("ForMaskedLM") for name in names)
    return guesses or config.get("model_type") in _OTHER_TYPES


def _check_code(family: type[Family], config: Mapping[str, object]) -> None:
    """Code of a repository, and classes, that are not known to compute the same."""
    auto_map = config.get("auto_map")
    for key, name in auto_map.items() if isinstance(auto_map, dict) else ():
        if not key.startswith("AutoModel"):
            continue
        module = str(name).rpartition("--")[2].rpartition(".")[0]
        if not family.code or module != family.code:
            raise ValueError(
                f"the model is computed by {str(name)[:100]!r}, code of its own, which is never run"
            )
    names = config.get("architectures")
    for name in names if isinstance(names, list) else ():
        known = f"({'|'.join(family.classes)}){_CLASS}"
        if isinstance(name, str) and not re.fullmatch(known, name):
            raise ValueError(
                f"the model is computed by a class {name[:100]!r}, which is not known here (write "
                f"'{family.classes[0]}Model' into its architectures if it computes the same)"
            )
