"""modules.json and what it names: how sentence-transformers makes one vector of hidden states.

https://sbert.net/docs/package_reference/sentence_transformer/modules.html
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from registry.errors import NotAModel

from .companions import CONFIG, MODULES, is_companion
from .config import Json
from .weights import FLOATS, read_header

# In the order in which the vectors of several are concatenated.
PoolingMode: TypeAlias = Literal["cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken"]
DenseActivation: TypeAlias = Literal["Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid"]

_PREFIX = "sentence_transformers."  # of a type that needs no code of the repository
_KNOWN = ("Transformer", "Pooling", "Dense", "Normalize", "LogitScore")
_MAX_FILE_BYTES = 1 << 20
_POOLING_FLAGS: dict[str, PoolingMode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer over the vector, then an activation; with weights of its own."""

    folder: str  # in the model's, such as "2_Dense"
    in_features: int
    out_features: int
    has_bias: bool
    activation: DenseActivation
    has_residual: bool  # the input is added to the outcome

    @property
    def weights(self) -> str:
        """The file of its weights, by its place in the model's folder."""
        return f"{self.folder}/model.safetensors"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors of that file."""
        shapes: dict[str, tuple[int, ...]] = {
            "linear.weight": (self.out_features, self.in_features)
        }
        if self.has_bias:
            shapes["linear.bias"] = (self.out_features,)
        if self.has_residual and self.in_features != self.out_features:
            shapes["residual.weight"] = shapes["linear.weight"]
        return shapes


@dataclass(frozen=True, slots=True)
class Normalize:
    """The vector is scaled to length 1."""


Step: TypeAlias = Dense | Normalize


@dataclass(frozen=True, slots=True)
class Modules:
    """What comes after the transformer."""

    pooling: tuple[PoolingMode, ...]  # the vectors of several are concatenated
    steps: tuple[Step, ...]  # in their order

    def size(self, hidden_size: int) -> int:
        """Numbers of a vector. Raises ValueError for a Dense that fits not what comes before it."""
        size = hidden_size * len(self.pooling)
        for dense in (step for step in self.steps if isinstance(step, Dense)):
            if dense.in_features != size:
                raise ValueError(
                    f"{dense.folder} takes {dense.in_features} numbers, and gets {size}"
                )
            size = dense.out_features
        return size


def read_modules(folder: Path) -> Modules:
    """Raises OSError or ValueError for damaged files, or for what is not computed here.

    Without a modules.json the mean is normalised, as most models are made for.
    """
    if not (folder / MODULES).is_file():
        return Modules(("mean",), (Normalize(),))
    pooling: tuple[PoolingMode, ...] = ()
    steps: list[Step] = []
    for number, (name, place) in enumerate(_entries(folder)):
        if name == "Transformer":
            _require(number == 0 and place in ("", "."), "a Transformer that is not the folder's")
        elif name == "Pooling":
            _require(not pooling and not steps, "a second Pooling, or one that is not the first")
            pooling = _pooling(place, _module_config(folder, place))
        elif name == "Dense":
            _require(bool(pooling), "a Dense before what pools")
            steps.append(_dense(place, _module_config(folder, place)))
        else:
            _require(name == "Normalize", "a score beside what pools")
            _require(bool(pooling), "a Normalize before what pools")
            steps.append(Normalize())
    if not pooling:
        raise ValueError(f"{MODULES}: no module pools; expected one of type Pooling")
    return Modules(pooling, tuple(steps))


def names_of(folder: Path) -> frozenset[str]:
    """The classes that modules.json names, such as "Pooling"; none where it is damaged."""
    try:
        entries = json.loads((folder / MODULES).read_bytes()[:_MAX_FILE_BYTES])
        return frozenset(str(entry["type"]).rpartition(".")[2] for entry in entries)
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return frozenset()


def files_to_fetch(folder: Path) -> list[str]:
    """The files that modules.json stands for, by their place in the folder. Raises NotAModel."""
    files = []
    try:
        for name, place in _entries(folder):
            if name in ("Pooling", "Dense", "LogitScore"):
                files.append(f"{_checked(place)}/{CONFIG}")
            if name == "Dense":
                files.append(f"{place}/model.safetensors")
    except ValueError as error:
        raise NotAModel(f"{error}. Choose a model without it.") from None
    return files


def check_weights(folder: Path, dense: Dense) -> None:
    """Walk the header of a Dense's weights. Raises ValueError, BrokenWeights."""
    path = folder / dense.weights
    if not path.is_file():
        raise ValueError(f"{dense.weights} is missing, and weights in pickles are never read")
    found = {tensor.name: tensor for tensor in read_header(path).tensors}
    shapes = {name: tensor.shape for name, tensor in found.items()}
    if shapes != dense.shapes:
        raise ValueError(f"{dense.weights} has {shapes}, and {dense.shapes} is wanted")
    for tensor in found.values():
        if tensor.dtype not in FLOATS:
            raise ValueError(f"{dense.weights} has numbers of type {tensor.dtype}")


def read_small_json(path: Path) -> dict[str, Json]:
    """A small JSON object. Raises OSError or ValueError."""
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {_MAX_FILE_BYTES} bytes")
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ValueError(f"{MODULES} has {otherwise}, which is not computed here")


def _entries(folder: Path) -> list[tuple[str, str]]:
    """Type and path of each module, in their order. Raises ValueError for one that is not known."""
    try:
        entries = json.loads((folder / MODULES).read_bytes()[:_MAX_FILE_BYTES])
        found = [(str(entry["type"]), str(entry.get("path", ""))) for entry in entries]
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"{MODULES} is no list of modules: {error}") from None
    for full, _ in found:
        name = full.rpartition(".")[2]
        if not full.startswith(_PREFIX):
            raise ValueError(
                f"{MODULES} has a module of type {full[:100]!r}, which is code of the repository: "
                "it is never run"
            )
        if name not in _KNOWN:
            raise ValueError(
                f"{MODULES} has a module of type {name[:100]!r}, which is not computed here; known "
                f"are {', '.join(_KNOWN)}"
            )
    return [(full.rpartition(".")[2], place) for full, place in found]


def _checked(place: str) -> str:
    """The folder of a module, if it is one whose files get into the store. Raises ValueError."""
    if not is_companion(f"{place}/{CONFIG}"):
        raise ValueError(
            f"{MODULES}: {place[:100]!r} is outside of the folders that modules have, such as "
            "1_Pooling"
        )
    return place


def _module_config(folder: Path, place: str) -> dict[str, Json]:
    path = folder / _checked(place) / CONFIG
    if not path.is_file():
        raise ValueError(f"{place}/{CONFIG} is missing")
    return read_small_json(path)


def _pooling(place: str, config: Mapping[str, Json]) -> tuple[PoolingMode, ...]:
    """The modes of a Pooling's config.json."""
    if config.get("include_prompt") is False:
        raise ValueError(f"{place}: include_prompt is false, which cannot be computed here")
    if isinstance(named := config.get("pooling_mode"), (str, list)):
        names = [str(name) for name in (named if isinstance(named, list) else [named])]
        names = ["mean_sqrt_len" if name == "mean_sqrt_len_tokens" else name for name in names]
        known = get_args(PoolingMode)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{place}: unknown pooling_mode {unknown[0][:100]!r}")
        modes = cast(list[PoolingMode], names)
    else:
        modes = [mode for flag, mode in _POOLING_FLAGS.items() if config.get(flag) is True]
    if not modes:
        raise ValueError(f"{MODULES}: no module pools; {place}/{CONFIG} names no way to")
    return tuple(modes)


def _dense(place: str, config: Mapping[str, Json]) -> Dense:
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = name.rpartition(".")[2]
    if not name.startswith("torch.nn.") or activation not in get_args(DenseActivation):
        raise ValueError(
            f"{place}: activation_function is {name[:100]!r}, which is not computed here; known "
            f"are {', '.join(get_args(DenseActivation))}"
        )
    read = config.get("module_input_name") or "sentence_embedding"
    written = config.get("module_output_name") or read
    if (read, written) != ("sentence_embedding", "sentence_embedding"):
        raise ValueError(f"{place}: it makes {written!r} of {read!r}, not the vector anew")
    sizes = config.get("in_features"), config.get("out_features")
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"{place}: in_features and out_features must be positive whole numbers")
    return Dense(
        folder=place,
        in_features=cast(int, sizes[0]),
        out_features=cast(int, sizes[1]),
        has_bias=config.get("bias", True) is not False,
        activation=cast(DenseActivation, activation),
        has_residual=config.get("use_residual") is True,
    )
