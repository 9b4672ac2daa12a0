"""What an encoder's largest forward pass takes beside its weights."""

from collections.abc import Mapping

from registry.checkpoint.attention import sight_of
from registry.checkpoint.config import NESTED, positive
from registry.checkpoint.encoder import max_input_tokens
from registry.checkpoint.encoders.family import Family
from registry.checkpoint.encoders.reading import family_of
from registry.checkpoint.kind import ENCODER_TYPES, kind_of
from registry.checkpoint.model import Model
from runtime.engine_messages import EngineSettings

from . import machine

# What `engine.encoders` reads in parts; a test holds both equal, for the web imports no MLX.
CHUNK_TOKENS = 2048  # a decoder that looks back
QUERY_CHUNK = 1024  # whatever looks both ways

_SIZE_KEYS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
_DTYPE_KEYS = ("compute_dtype", "dtype", "torch_dtype")
_HALF_DTYPES = ("bfloat16", "float16")


def pass_bytes(model: Model) -> int:
    """About what the largest pass takes: 0 for a chat model. Raises ValueError or OSError.

    Measured, a layer holds of each token that it reads four times its inner size and ten times its
    own; on a CPU its scores too, which Metal never writes down.
    """
    if kind_of(model) == "llm":
        return 0
    if model.model_type in ENCODER_TYPES:
        return _of_encoder(family_of(model.config), max_input_tokens(model))
    return _of_decoder(model.config, max_input_tokens(model))


def _of_encoder(family: Family, longest: int) -> int:
    """All tokens of a pass at once. What is added to each score, if it differs from head to head,
    is there through all layers.
    """
    num_tokens = max(EngineSettings().pack_tokens, longest)
    num_scores = family.num_heads * min(longest, QUERY_CHUNK)
    num_scores *= family.has_bias + (not machine.keeps_half_precision())
    return 4 * num_tokens * (_num_active(family.size, family.inner_size) + num_scores)


def _of_decoder(config: Mapping[str, object], longest: int) -> int:
    """Long texts are read in parts; what is held of all tokens are hidden states, in and out, and
    keys and values: of every layer where it looks back, of one where it looks both ways.
    """
    size, inner, heads, layers = (positive(config.get(key)) or 0 for key in _SIZE_KEYS)
    head_size = positive(config.get("head_dim")) or size // max(1, heads)
    keys_and_values = 2 * head_size * (positive(config.get("num_key_value_heads")) or heads)
    pack_tokens = EngineSettings().pack_tokens  # many short texts are all read at once
    num_tokens = max(pack_tokens, longest)
    if sight_of(config).is_two_way:
        held = 2 * keys_and_values + 3 * size  # in parts, and these joined
        num_pairs = num_tokens * min(longest, QUERY_CHUNK)
    else:
        held = layers * keys_and_values + 2 * size
        num_pairs = min(num_tokens, CHUNK_TOKENS) * longest
    num_scores = 0 if machine.keeps_half_precision() else heads * num_pairs
    numbers = pack_tokens * _num_active(size, inner) + num_tokens * held + num_scores
    return number_bytes(config) * numbers + num_pairs  # a mask is a byte for each


def _num_active(size: int, inner: int | None) -> int:
    return 4 * (inner or 4 * size) + 10 * size


def number_bytes(config: Mapping[str, object]) -> int:
    """Of a number as the engine computes it; 4 where config.json does not say."""
    places = (config, *(config[key] for key in NESTED if isinstance(config.get(key), dict)))
    said = (place.get(key) for place in places for key in _DTYPE_KEYS if isinstance(place, Mapping))
    declared = next((value for value in said if value), None)
    return 2 if machine.keeps_half_precision() and declared in _HALF_DTYPES else 4
