"""Which files of a folder hold its weights, and whether they agree with each other and their index.

mlx-lm loads every model*.safetensors of a folder, so each of them must be sound and belong to it.
"""

import re
from pathlib import Path

from registry.errors import BrokenWeights, NotAModel

from . import names
from .listing import INDEX, read_index
from .weights import Header, quote, read_header

_NAME = re.compile(r"model[A-Za-z0-9._-]{0,200}\.safetensors")
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}  # which run code when read


def find(folder: Path) -> list[Path]:
    """The weight files. Raises NotAModel if there are none, BrokenWeights if the index differs."""
    found = files(folder)
    weight_map = _read_index(folder)
    if weight_map is not None:
        listed = set(weight_map.values())
        for name in sorted(listed):
            if not (folder / name).is_file():
                raise BrokenWeights(name, f"{INDEX} names this file, and it is not there")
        for path in found:
            if path.name not in listed:
                raise BrokenWeights(path.name, f"{INDEX} does not name this file")
    if found:
        return found
    if any(path.suffix in PICKLES for path in folder.iterdir()):
        raise NotAModel(
            "The model has its weights as pickles only, which are never read because they can "
            "hold code. Choose a repository with safetensors."
        )
    raise NotAModel("The folder has no model*.safetensors, so there are no weights to serve.")


def files(folder: Path) -> list[Path]:
    """All that mlx-lm would load. Raises NotAModel for a name that cannot be written down."""
    found = sorted(path for path in folder.glob("model*.safetensors") if path.is_file())
    for path in found:
        if not names.is_text(path.name):
            raise NotAModel(
                f"The weight file {names.shown(path.name)} has a name that is not UTF-8, and "
                "cannot be written down: rename it."
            )
    return found


def check(folder: Path, paths: list[Path]) -> dict[str, Header]:
    """Walk every header. Raises BrokenWeights where files contradict each other or the index."""
    headers = {path.name: read_header(path) for path in paths}
    places: dict[str, str] = {}
    for name, header in headers.items():
        for tensor in header.tensors:
            if (other := places.setdefault(tensor.name, name)) != name:
                raise BrokenWeights(name, f"tensor {quote(tensor.name)} is in {other} too")
    weight_map = _read_index(folder)
    if weight_map is not None and weight_map != places:
        wrong = min(set(weight_map.items()) ^ set(places.items()))
        raise BrokenWeights(wrong[1], f"{INDEX} and the file disagree on tensor {quote(wrong[0])}")
    return headers


def _read_index(folder: Path) -> dict[str, str] | None:
    """Which file each tensor is in; None if there is no index. Raises BrokenWeights.

    Only files that mlx-lm loads will do.
    """
    weight_map = read_index(folder)
    for name in set((weight_map or {}).values()):
        if not _NAME.fullmatch(name):
            raise BrokenWeights(INDEX, f"it names {quote(name)}, not a model*.safetensors")
    return weight_map
