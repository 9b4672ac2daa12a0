"""What lies at a path: a folder of weights, or one GGUF, whatever it is called.

A GGUF is known by its first bytes: Ollama calls its blobs by their hashes. LM Studio and others
keep one in a folder of its own, with the projector of its images (mmproj) beside it.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from registry.checkpoint import lfs
from registry.checkpoint.companions import CONFIG
from registry.checkpoint.listing import INDEX, names_in, read_index
from registry.checkpoint.names import shown
from registry.checkpoint.weights import read_safetensors_json
from registry.download.part import blocking
from registry.errors import BrokenWeights, SourceRefused
from registry.hub.files import NO_MODELS, complete_sets, is_weight_name, local_name
from registry.store.record import is_weight

from . import weights

MAGIC = b"GGUF"


def is_gguf(path: Path) -> bool:
    """Whether a file is a GGUF, by its name or by its first bytes."""
    if path.suffix == ".gguf":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def model_at(path: Path) -> Path:
    """The folder itself, or the one GGUF in it where it has no weights of another kind.

    Raises SourceRefused for a folder of several.
    """
    if not path.is_dir() or any(path.glob("*.safetensors")):
        return path
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    ggufs = [file for file in files if file.name != CONFIG and is_gguf(file)]
    models = [file for file in ggufs if not any(word in file.name.lower() for word in NO_MODELS)]
    if ggufs and not models and not (path / CONFIG).exists():
        raise SourceRefused(
            f"{path} has no model, only a GGUF file that belongs to one ({shown(ggufs[0].name)}): "
            "import the folder that has the model itself."
        )
    if len(models) > 1:
        names = ", ".join(shown(file.name) for file in models[:20])
        raise SourceRefused(
            f"{path} has {len(models)} GGUF files, and a model is made of one: name one of {names}."
        )
    return models[0] if models else path


async def weights_in(folder: Path, what: str) -> weights.Choice:
    """Which of a folder's files are its weights, and what they are to be called; maybe none.

    Raises BrokenWeights, SourceRefused for a folder (`what` for the user) that lacks some.
    """
    names = _weight_names(folder)
    weight_map = await weights.index_of(folder)
    if weight_map is not None and (folder / CONFIG).is_file():

        async def read(name: str) -> frozenset[str]:
            header = await blocking(read_safetensors_json, folder / name)
            return await blocking(names_in, header, name)

        return await weights.choose(what, folder, weight_map, names, read)
    return weights.as_found(_unnamed(names), weight_map)


def likely(folder: Path) -> Collection[str]:
    """The files that `weights_in` will read first, as the names in a folder tell; maybe none.

    Asked for those that may not be Git LFS pointers.
    """
    names = _weight_names(folder)
    # An index may be large, and the event loop waits: it is read only where it decides something.
    if not any(lfs.is_pointer(folder / name) for name in names):
        return names
    try:
        index = read_index(folder)
    except BrokenWeights:  # `weights_in` tells
        index = None
    if index is None or not (folder / CONFIG).is_file():
        return _unnamed(names)
    if (named := set(index.values())) <= set(names):
        return named
    return next(iter(complete_sets(names)), ()) or _unnamed(names)


def _weight_names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.is_file() and is_weight_name(file.name)]


def _unnamed(names: Collection[str]) -> Collection[str]:
    """The weights where no index names them: what mlx-lm loads, or else shards by their names."""
    own = [name for name in names if is_weight(name)]
    return own or next(iter(complete_sets(names)), ())


def settle(folder: Path, choice: weights.Choice) -> None:
    """Leave the chosen weights in a folder of ours, as they are to be called; no wrong index."""
    if choice.is_index_wrong:
        (folder / INDEX).unlink()
    aside = [
        (folder / there).rename(folder / f"{here}.kept") for here, there in choice.files.items()
    ]
    for path in folder.iterdir():
        if is_weight_name(path.name):  # mlx-lm would load some as well
            path.unlink()
    for path in aside:
        path.rename(folder / path.name.removesuffix(".kept"))


def link_all(files: Mapping[str, Path], folder: Path) -> None:
    """Links to files elsewhere, by what they are to be called."""
    for name, file in files.items():
        (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
        (folder / name).symlink_to(file.resolve())


def gguf_path(path: Path, folder: Path) -> Path:
    """Where in a folder a GGUF gets a name that says what it is."""
    stem = path.name[: -len(".gguf")] if path.name.lower().endswith(".gguf") else path.name
    return folder / local_name(f"{stem}.gguf")


def link_as_gguf(path: Path, folder: Path) -> Path:
    """A link to a GGUF that is not called so: the job process goes by the suffix."""
    linked = gguf_path(path, folder)
    linked.symlink_to(path)
    return linked
