"""How many tokens a model was made for, in whichever words its files say it.

The words, and what a scaled rotation does to them, are those of vLLM (its functions
`derive_max_model_len_and_key` and `_get_and_verify_max_len`), and of mlx-lm's other architectures.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from registry.errors import NotAModel

from . import defaults
from .config import NESTED, read_json

DEFAULT_CONTEXT_LENGTH = 32_768  # for architectures that set no limit, such as state-space models

# Each is a limit, so the smallest counts: Qwen 7B was trained with a seq_length of 8,192, and goes
# up to its 32,768 positions only with a scaling by length that mlx-lm does not compute.
_LIMITS = (
    *("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"),
    *("max_sequence_length", "max_seq_length", "seq_len", "max_target_positions"),
    *("context_length", "max_context_length"),  # RWKV, OpenELM
)
_OWN_LIMITS = {"lille-130m": ("block_size",)}
_WHOLE = "model_max_length"  # says it all where it is given: Command R, Baichuan 2, Kimi Linear
_MOST = 100_000_000  # transformers writes 1e30 for a tokenizer without a limit

_YARN = ("yarn", "deepseek_yarn", "telechat3-yarn")
_STRETCHED = ("linear", "dynamic")
_STRETCHED_ALREADY = ("gemma3", "gemma3_text")  # their limit is that of the scaled positions


def context_length(config: Mapping[str, object], folder: Path | None = None) -> int:
    """How many tokens prompt and answer may take together.

    `folder` has the tokenizer_config.json, which is asked where config.json does not decide it.
    """
    said_by_tokenizer = _of_tokenizer(folder)
    for part in _parts(config):
        if (whole := _length(part.get(_WHOLE))) is not None:
            return whole
        if (limit := _limit(part)) is not None:
            return _scaled(limit, part, said_by_tokenizer)
    for part in _parts(config):
        if (limit := defaults.context_length_of(str(part.get("model_type")))) is not None:
            return _scaled(limit, part, said_by_tokenizer)
    return said_by_tokenizer or DEFAULT_CONTEXT_LENGTH


def _parts(config: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """A multimodal config says it of its text model; what it says of itself comes after."""
    for key in NESTED:
        if isinstance(part := config.get(key), dict):
            yield part
    yield config


def _limit(config: Mapping[str, object]) -> int | None:
    keys = (*_LIMITS, *_OWN_LIMITS.get(str(config.get("model_type")), ()))
    found = [length for key in keys if (length := _length(config.get(key))) is not None]
    return min(found, default=None)


def _scaled(limit: int, config: Mapping[str, object], said_by_tokenizer: int | None) -> int:
    """The limit where `rope_scaling` stretches the positions beyond those of the training.

    Configs of 2023 keep the length before it (Vicuna 16K), and some the one after it (DeepSeek
    Coder): then the tokenizer tells.
    """
    scaling = config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(scaling, dict):
        return limit
    kind = scaling.get("rope_type") or scaling.get("type")
    factor = scaling.get("factor")
    original = _length(scaling.get("original_max_position_embeddings"))
    if not isinstance(factor, int | float) or not 1 < factor < _MOST / limit:
        return limit
    if kind in _YARN:
        original = original or _length(config.get("original_max_position_embeddings"))
        return int((original or limit) * factor)
    if kind not in _STRETCHED or config.get("model_type") in _STRETCHED_ALREADY:
        return limit
    stretched = int((original or limit) * factor)
    if said_by_tokenizer is not None and limit <= said_by_tokenizer < stretched:
        return said_by_tokenizer
    return stretched


def _of_tokenizer(folder: Path | None) -> int | None:
    path = folder / "tokenizer_config.json" if folder is not None else None
    if path is None or not path.is_file():
        return None
    try:
        return _length(read_json(path).get(_WHOLE))
    except NotAModel:  # others say so
        return None


def _length(value: object) -> int | None:
    """A number of tokens that can be one, or None; some tools write 4096.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value < _MOST else None
