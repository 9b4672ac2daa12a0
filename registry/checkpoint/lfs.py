"""Git LFS pointers: the few lines that a clone without Git LFS has in place of a large file.

Their form: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import stat
from collections.abc import Collection
from pathlib import Path

from registry.errors import NotAModel

from .companions import CONFIG, is_companion, nested_files

_START = b"version https://git-lfs"
_MAX_BYTES = 1024  # of a pointer, as its specification has it
_WEIGHTS = (".safetensors", ".gguf")
_MAX_NAMED = 3


def is_pointer(path: Path) -> bool:
    """Whether the file is a pointer to another. Raises OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or not len(_START) <= status.st_size < _MAX_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(_START)) == _START


def check(path: Path, place: str = "the folder that it came from") -> None:
    """Raises NotAModel for a pointer; `place` is where to mend it. Raises OSError."""
    if is_pointer(path):
        raise _refusal([path.name], place)


def check_folder(
    folder: Path,
    place: str = "the folder that it came from",
    weights: Collection[str] = (),
) -> None:
    """The same for every file that makes a model; `weights` are those that will be read.

    Without them these are all that mlx-lm loads. What nobody reads, such as the same weights in
    another form, may stay a pointer.
    """
    paths = [path for path in folder.glob("*") if path.name == CONFIG or is_companion(path.name)]
    paths += [folder / name for name in nested_files(folder)]
    paths += [folder / name for name in weights or _weights(folder)]
    names = {path.relative_to(folder).as_posix() for path in paths if path.is_file()}
    if found := sorted(name for name in names if is_pointer(folder / name)):
        raise _refusal(found, place)


def _weights(folder: Path) -> list[str]:
    """What mlx-lm loads; where there is nothing of that, all that could be meant instead."""
    loaded = [path.name for path in folder.glob("model*.safetensors")]
    return loaded or [p.name for p in folder.glob("*") if p.name.lower().endswith(_WEIGHTS)]


def _refusal(names: list[str], place: str) -> NotAModel:
    listed = ", ".join(names[:_MAX_NAMED])
    if len(names) == 1:
        return NotAModel(
            f"{listed} is a Git LFS pointer, not the file itself: run `git lfs pull` in {place}."
        )
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return NotAModel(
        f"{listed}{more} are Git LFS pointers, not the files themselves: run `git lfs pull` in "
        f"{place}."
    )
