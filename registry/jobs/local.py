"""What lies at a path: a folder of weights, or one GGUF, whatever it is called.

A GGUF is known by its first bytes: Ollama calls its blobs by their hashes. LM Studio and others
keep one in a folder of its own, with the projector of its images (mmproj) beside it.
"""

from pathlib import Path

from registry.checkpoint.companions import CONFIG
from registry.checkpoint.names import shown
from registry.errors import SourceRefused
from registry.hub.files import local_name

MAGIC = b"GGUF"
_PROJECTOR = "mmproj"


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
    models = [file for file in ggufs if _PROJECTOR not in file.name.lower()]
    if len(models) > 1:
        names = ", ".join(shown(file.name) for file in models[:20])
        raise SourceRefused(
            f"{path} has {len(models)} GGUF files, and a model is made of one: name one of {names}."
        )
    return models[0] if models else path


def gguf_path(path: Path, folder: Path) -> Path:
    """Where in a folder a GGUF gets a name that says what it is."""
    stem = path.name[: -len(".gguf")] if path.name.lower().endswith(".gguf") else path.name
    return folder / local_name(f"{stem}.gguf")


def link_as_gguf(path: Path, folder: Path) -> Path:
    """A link to a GGUF that is not called so: the job process goes by the suffix."""
    linked = gguf_path(path, folder)
    linked.symlink_to(path)
    return linked
