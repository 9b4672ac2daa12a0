"""Git LFS pointers: the few lines that a clone without Git LFS has in place of a large file.

Their form: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import stat
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


def check_folder(folder: Path, place: str = "the folder that it came from") -> None:
    """The same for every file that makes a model.

    What nobody reads, such as weights of another framework, may stay one.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    if found := [name for name in names if is_pointer(folder / name)]:
        raise _refusal(found, place)


def _files(folder: Path) -> list[Path]:
    paths = [path for path in folder.glob("*") if _counts(path.name)]
    paths += [folder / name for name in nested_files(folder)]
    return [path for path in paths if path.is_file()]


def _counts(name: str) -> bool:
    return name == CONFIG or is_companion(name) or name.lower().endswith(_WEIGHTS)


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
