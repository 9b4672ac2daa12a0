"""Whether a language model that embeds or ranks looks both ways, as its config.json says it.

`encoder` refuses by it what is not computed here, `convert` writes it down, the engine computes it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .companions import CONFIG
from .config import Config, positive

# Computed exactly with a mask in both directions; a test holds each equal to transformers.
TWO_WAY_TYPES = frozenset({"gemma3_text", "llama", "mistral", "qwen2", "qwen3"})

# Of gte-Qwen1.5 and gte-Qwen2. What its attention is, is written in the code alone: it looks both
# ways, but that of the 1.5B, against its card, only back. vLLM's tests hold both against it
# (tests/models/embedding/language/test_embedding.py).
_GTE_CODE = "modeling_qwen.Qwen2Model"
_GTE_SMALL = 1536  # hidden size of the 1.5B
_FOREIGN_CLASS = re.compile(r"Bidirec|BiModel|BiFor|Encoder|NVEmbed")
_GEMMA_PATTERN = 6  # every sixth layer sees all


@dataclass(frozen=True, slots=True)
class Sight:
    """What a token may see besides itself."""

    is_two_way: bool = False
    # How far a sliding layer sees, itself included: tokens at a distance below it, on both sides.
    window: int | None = None


def sight_of(config: Mapping[str, object]) -> Sight:
    """How far each token of an embedder or reranker sees.

    Raises ValueError for attention that is not computed here, or not certain.
    """
    model_type = config.get("model_type")
    is_gemma = model_type == "gemma3_text"
    if config.get("use_bidirectional_attention"):
        if not is_gemma or config["use_bidirectional_attention"] is not True:
            raise _foreign(model_type, "both directions")
        return _gemma(config)
    is_causal = config.get("is_causal")
    if is_causal is None:
        is_causal = _is_causal_by_code(config)
    if is_causal is True:
        return Sight()
    # With `is_causal: false`, transformers counts the window of Gemma's sliding layers otherwise.
    if model_type not in TWO_WAY_TYPES or is_gemma or _slides(config):
        raise _foreign(model_type, "both directions")
    return Sight(is_two_way=True)


def settled(config: Config) -> Config:
    """The config, which says of its attention what only the name of its code said.

    That name is not kept: nobody may run the code.
    """
    if config.get("is_causal") is None and _has_code_of_gte(config):
        return config | {"is_causal": _is_causal_by_code(config)}
    return config


def looks_ahead(config: Mapping[str, object]) -> bool:
    """Whether it plainly looks both ways, and so can generate no text."""
    return config.get("is_causal") is False or config.get("use_bidirectional_attention") is True


def _gemma(config: Mapping[str, object]) -> Sight:
    """EmbeddingGemma's: Gemma3TextConfig halves the window, and bounds it exclusively."""
    window = positive(config.get("sliding_window", 512))
    pattern = positive(config.get("sliding_window_pattern", _GEMMA_PATTERN))
    layers = config.get("layer_types")
    if window is None or pattern is None:
        raise _foreign("gemma3_text", "a window of its own")
    if isinstance(layers, list):
        expected = ["sliding" if (n + 1) % pattern else "full" for n in range(len(layers))]
        if layers != [f"{kind}_attention" for kind in expected]:
            raise _foreign("gemma3_text", f"other layers than every {pattern}th")
    return Sight(is_two_way=True, window=window // 2 + 1)


def _slides(config: Mapping[str, object]) -> bool:
    """Whether a layer sees only a window; Qwen's config has its size also where there is none."""
    layers = config.get("layer_types")
    if isinstance(layers, list) and any(layer != "full_attention" for layer in layers):
        return True
    is_used = config.get("use_sliding_window", config.get("model_type") == "mistral")
    return bool(is_used) and config.get("sliding_window") is not None


def _is_causal_by_code(config: Mapping[str, object]) -> bool:
    """As the names of the model's class and code say. Raises ValueError for a foreign one."""
    names = config.get("architectures")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and _FOREIGN_CLASS.search(name):
            raise _unknown(name)
    code = _code(config)
    if code is None:
        return True
    if not _has_code_of_gte(config):
        raise _unknown(code)
    return config.get("hidden_size") == _GTE_SMALL


def _has_code_of_gte(config: Mapping[str, object]) -> bool:
    code = _code(config) or ""
    return config.get("model_type") == "qwen2" and code.rpartition("--")[2] == _GTE_CODE


def _code(config: Mapping[str, object]) -> str | None:
    """The class of the repository's own code that computes the hidden states."""
    auto_map = config.get("auto_map")
    code = auto_map.get("AutoModel") if isinstance(auto_map, dict) else None
    return code if isinstance(code, str) else None


def _foreign(model_type: object, what: str) -> ValueError:
    return ValueError(
        f"{CONFIG} wants attention in {what} of a '{model_type}', which is not computed here; "
        "choose a model without it"
    )


def _unknown(name: str) -> ValueError:
    return ValueError(
        f"The model is computed by '{name[:100]}', code of its own, and {CONFIG} does not say "
        "what its attention is; write is_causal: true there if it only looks back, is_causal: "
        "false if it looks both ways"
    )
