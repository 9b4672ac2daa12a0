"""Whether a model can be used, as far as its config.json alone tells: asked before weights are
fetched or copied.

The list of architectures is read from the source of mlx-lm, which is never imported here: the web
process asks too.
"""

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from registry.errors import NotAModel

from .config import Config
from .kind import ENCODER_TYPES

_DEFINES_MODEL = re.compile(r"^class Model\b|^from \.\w+ import .*\bModel\b(?! as)", re.MULTILINE)
_SIBLING = re.compile(r"^from \.([\w-]+) import |^from \. import (.+)$", re.MULTILINE)
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
    check_architecture(config)
    check_packing(config)


def check_architecture(config: Config) -> None:
    """Raises NotAModel for an architecture that neither mlx-lm nor our encoders compute."""
    model_type = str(config.get("model_type"))
    if model_type in ENCODER_TYPES:
        return
    module = _module_of(config)
    if module not in _modules():
        near = difflib.get_close_matches(model_type, sorted(model_types()), n=3, cutoff=0.6)
        hint = f" Near names are {_listed(near)}." if near else ""
        raise NotAModel(
            f"Models of type '{model_type}' are not supported by mlx-lm {version('mlx-lm')}.{hint}"
        )
    if missing := _missing_packages(module):
        raise NotAModel(
            f"Models of type '{model_type}' need the Python package {_listed(missing)}, which "
            "mlx-edge does not bring; choose a newer model of the family."
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


def quantization_config(config: Mapping[str, object]) -> Config | None:
    """How the weights of another tool are packed; a multimodal config says it in text_config."""
    text_config = config.get("text_config")
    for source in (config, text_config if isinstance(text_config, dict) else {}):
        if isinstance(found := source.get("quantization_config"), dict):
            return found
    return None


@cache
def model_types() -> frozenset[str]:
    """Every model_type that is computed here: mlx-lm's, those it renames, and our encoders'."""
    renamed = {name for name, module in _renamed().items() if module in _modules()}
    return frozenset(_modules()) | renamed | ENCODER_TYPES


def _unreadable(method: str, packing: Config, config: Config) -> str | None:
    """What about the packing cannot be read, to be put after its name; None if it can.

    The cases follow mlx-lm's `load_model`; FP8 is decoded by `registry.convert.float8`.
    """
    module = _module_of(config)
    if method in (*_FLOAT_8, "mxfp8", "bitnet"):
        return None
    if method == "mxfp4":
        return None if _mentions(module, "_blocks") else f" in a model of type '{module}'"
    if method == "compressed-tensors":
        return _unreadable_compressed(packing, module)
    if method == "modelopt":
        settings = packing.get("quantization")
        algorithm = (settings if isinstance(settings, dict) else packing).get("quant_algo")
        is_known = algorithm == "FP8" or (
            algorithm == "NVFP4" and _mentions(module, "weight_scale_2")
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
        is_known = _mentions(module, "weight_shape") and all(
            (w.get("type"), w.get("num_bits"), w.get("symmetric")) == ("int", 4, True)
            for w in _weight_groups(packing)
        )
        return None if is_known else reason
    is_known = form == "mxfp4-pack-quantized" and _mentions(module, "weight_packed")
    return None if is_known else reason


def _weight_groups(packing: Config) -> Iterator[Config]:
    groups = packing.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        yield weights if isinstance(weights, dict) else {}


def _module_of(config: Config) -> str:
    """The module of mlx-lm that computes a config, as its `_get_classes` finds it."""
    model_type, names = str(config.get("model_type")), config.get("architectures")
    for name in names if isinstance(names, list) else [names]:
        if (module := _renamed_architectures().get((model_type, name))) is not None:
            return module
    return _renamed().get(model_type, model_type)


def _folder() -> Path:
    spec = find_spec("mlx_lm")  # of a top-level package, so nothing is imported
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@cache
def _modules() -> dict[str, str]:
    """mlx-lm's architectures: name and source of each module that holds a Model."""
    sources = ((path.stem, path.read_text()) for path in (_folder() / "models").glob("*.py"))
    return {name: source for name, source in sources if _DEFINES_MODEL.search(source)}


@cache
def _tables() -> dict[str, object]:
    """The tables of mlx-lm's utils.py that are written out in it."""
    tables: dict[str, object] = {}
    for node in ast.parse((_folder() / "utils.py").read_text()).body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id="MODEL_REMAPPING" | "MODEL_ARCHITECTURE_REMAPPING" as name)],
                value=value,
            ):
                tables[name] = ast.literal_eval(value)
    return tables


def _renamed() -> dict[str, str]:
    table = _tables()["MODEL_REMAPPING"]
    assert isinstance(table, dict)
    return table


def _renamed_architectures() -> dict[tuple[str, object], str]:
    """By model_type and one of `architectures`."""
    table = _tables()["MODEL_ARCHITECTURE_REMAPPING"]
    assert isinstance(table, dict)
    return table


def _mentions(module: str, word: str) -> bool:
    """Whether the source of an architecture, or of those that it builds on, has the word."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        if (name := waiting.pop()) in seen or (source := _modules().get(name)) is None:
            continue
        if word in source:
            return True
        seen.add(name)
        for one, several in _SIBLING.findall(source):
            waiting += [one] if one else re.findall(r"[\w-]+", several)
    return False


def _missing_packages(module: str) -> list[str]:
    """Packages that the module imports when it is loaded, and that are not installed.

    mlx_lm.models.olmo ends the process where hf_olmo is missing.
    """
    found: list[str] = []
    for node in ast.walk(ast.parse(_modules()[module])):
        match node:
            case ast.Import(names=names):
                found += [alias.name.partition(".")[0] for alias in names]
            case ast.ImportFrom(module=str(name), level=0):
                found.append(name.partition(".")[0])
    return sorted({name for name in found if find_spec(name) is None})


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
