"""Whether a model can be used, as far as its config.json alone tells.

Asked before weights are fetched or copied; also by the web process, so nothing of MLX is imported.
"""

import difflib
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from registry.errors import NotAModel

from .architectures import architecture_of, mentions, missing_packages, model_types, source
from .config import Config, read_json, understood
from .encoders import foreign, reading
from .kind import ENCODER_TYPES
from .spelling import normalised

_NEED_METAL = frozenset({"bitnet", "muse_spark"})  # mlx-lm has no other form of their kernels
# Where config.json names an activation; kinds of them, and how mlx-lm's modules call each.
_ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function")
_KINDS = {"gelu": "(?i)gelu|geglu", "silu": "(?i)silu|swiglu|switchglu", "relu": "(?i)relu"}
_FLOAT_8 = ("fp8", "fbgemm_fp8")
_INSTEAD = (
    "choose the repository of the original weights, or one in MLX format (mlx-community has many)"
)
# How packed weights are called where config.json says it; the rest is named as it is spelled.
_NAMES = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "modelopt": "ModelOpt",
    "fp8": "FP8",
    "mxfp4": "MXFP4",
}


def check_config(config: Config) -> None:
    """Raises NotAModel, with one sentence, if config.json tells that the model cannot be used."""
    with understood():
        check_architecture(config)
        check_packing(config)
        if config.get("model_type") in ENCODER_TYPES:
            reading.check_config(config)
        normalised(config)


def check_architecture(config: Config) -> None:
    """Raises NotAModel for an architecture that neither mlx-lm nor our encoders compute."""
    model_type = str(config.get("model_type"))
    if model_type in ENCODER_TYPES:
        return
    module = architecture_of(config)
    if source(module) is None:
        if foreign.is_encoder(config):
            raise NotAModel(
                f"Encoders of type '{model_type}' are not supported; supported are "
                f"{', '.join(sorted(ENCODER_TYPES))}: choose a model of one of these types."
            )
        known = sorted(model_types() | ENCODER_TYPES)
        near = difflib.get_close_matches(model_type, known, n=3, cutoff=0.6)
        hint = f" Near names are {_listed(near)}." if near else ""
        raise NotAModel(
            f"Models of type '{model_type}' are not supported by mlx-lm {version('mlx-lm')}.{hint}"
        )
    if missing := missing_packages(module):
        raise NotAModel(
            f"Models of type '{model_type}' need the Python package {_listed(missing)}, which "
            "mlx-edge does not bring; choose a newer model of the family."
        )
    _check_machine(config, module)
    _check_activation(config, module)


def _check_machine(config: Config, module: str) -> None:
    """Kernels that are written in Metal alone: elsewhere every answer would be an error."""
    packing = quantization_config(config) or {}
    if sys.platform == "darwin" or not (
        module in _NEED_METAL or packing.get("quant_method") == "bitnet"
    ):
        return
    raise NotAModel(
        f"Models of type '{config.get('model_type')}' like this one are computed by Metal only, "
        "which this machine does not have; use it on a Mac, or choose another model."
    )


def _check_activation(config: Config, module: str) -> None:
    """Most modules of mlx-lm have one activation, whatever config.json says."""
    said = next((config[name] for name in _ACTIVATIONS if isinstance(config.get(name), str)), None)
    kind = next((kind for kind in _KINDS if kind in str(said)), None)
    has = {kind for kind, pattern in _KINDS.items() if mentions(module, pattern)}
    if kind is None or kind in has or not has or mentions(module, r"\bhidden_act\b|mlp_hidden_act"):
        return
    raise NotAModel(
        f"config.json asks for the activation {ascii(said)[:64]}, which is not computed for models "
        f"of type '{module}'; its answers would be wrong, so choose another model."
    )


def check_packing(config: Config) -> None:
    """Raises NotAModel for weights packed by a method that is not read here, such as GPTQ."""
    if isinstance(config.get("quantization"), dict):  # MLX's own
        return
    packing = quantization_config(config)
    if packing is None:
        return
    method = packing.get("quant_method")
    if not isinstance(method, str):
        raise NotAModel(
            "config.json has a quantization_config that names no quant_method, so the weights "
            f"cannot be read; {_INSTEAD}."
        )
    if (reason := _unreadable(method, packing, config)) is not None:
        raise NotAModel(
            f"The weights are packed as {_NAMES.get(method, ascii(method[:64]))}{reason}, which "
            f"cannot be read here; {_INSTEAD}."
        )


def with_packing(config: Config, folder: Path) -> Config:
    """The config with what hf_quant_config.json says, where NVIDIA's ModelOpt puts it."""
    path = folder / "hf_quant_config.json"
    if quantization_config(config) is not None or not path.is_file():
        return config
    return config | {"quantization_config": {"quant_method": "modelopt"} | read_json(path)}


def quantization_config(config: Mapping[str, object]) -> Config | None:
    """How the weights of another tool are packed; a multimodal config says it in text_config."""
    text_config = config.get("text_config")
    for place in (config, text_config if isinstance(text_config, dict) else {}):
        if isinstance(found := place.get("quantization_config"), dict):
            return found
    return None


def _unreadable(method: str, packing: Config, config: Config) -> str | None:
    """What about the packing cannot be read, to be put after its name; None if it can.

    The cases follow mlx-lm's `load_model`; FP8 is decoded by `registry.convert.float8`.
    """
    module = architecture_of(config)
    if method in (*_FLOAT_8, "mxfp8", "bitnet"):
        return None
    if method == "mxfp4":
        return None if mentions(module, "_blocks") else f" in a model of type '{module}'"
    if method == "compressed-tensors":
        return _unreadable_compressed(packing, module)
    if method == "modelopt":
        settings = packing.get("quantization")
        algorithm = (settings if isinstance(settings, dict) else packing).get("quant_algo")
        is_known = algorithm == "FP8" or (
            algorithm == "NVFP4" and mentions(module, "weight_scale_2")
        )
        return None if is_known else f" ({algorithm})"
    if method == "awq":
        bits, layout = packing.get("bits", 4), str(packing.get("version", "gemm")).lower()
        if bits == 4 and layout == "gemm" and packing.get("group_size", 128) in (32, 64, 128):
            return None
        return f" of {bits} bits in the layout {ascii(layout[:32])}"
    return ""


def _unreadable_compressed(packing: Config, module: str) -> str | None:
    """The same for compressed-tensors, which holds many formats.

    Packed ones are read only where the architecture of mlx-lm renames their tensors.
    """
    form = packing.get("format")
    reason = f" ({form})"
    if form in ("float-quantized", "naive-quantized"):
        return None if all(w.get("type") == "float" for w in _weight_groups(packing)) else reason
    if form == "pack-quantized":
        is_known = mentions(module, "weight_shape") and all(
            (w.get("type"), w.get("num_bits"), w.get("symmetric")) == ("int", 4, True)
            for w in _weight_groups(packing)
        )
        return None if is_known else reason
    is_known = form == "mxfp4-pack-quantized" and mentions(module, "weight_packed")
    return None if is_known else reason


def _weight_groups(packing: Config) -> Iterator[Config]:
    groups = packing.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        yield weights if isinstance(weights, dict) else {}


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
