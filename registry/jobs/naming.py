"""What an error calls a model: by the user's path or repository, never by a folder of ours.

The one place for it: files are checked by code that knows only the folder they were brought to.
`provision` lets every error of an order pass through here.
"""

import re
from pathlib import Path, PurePosixPath

from registry.errors import BrokenWeights, ConversionFailed, NotAModel, RegistryError

from . import local
from .order import Convert, Download, Import, Order, Package, Pull, Upload, Verify

# Folders in HOME/partial/ID and HOME/models/ID, as `acquire`, `provision` and `store` name them.
_ACQUIRED = r"(?:hub|url|upload|folder|package)-[0-9a-f]{16}|arriving"
_OURS = rf"{_ACQUIRED}|converted-[0-9a-f]{{8}}|files-[0-9a-f]{{8}}"


def source_of(order: Order) -> str:
    """What the user calls the place that the files come from."""
    match order:
        case Pull(repo=repo):
            return repo
        case Download(url=url):
            return url.split("?")[0]  # which may hold a secret signature
        case Upload(file=file):
            return file
        case Import(path=path):
            return path
        case Package(package=package):
            return package
        case Convert(from_id=from_id):
            return from_id
        case Verify(model_id=model_id):
            return model_id


def name(error: RegistryError | OSError, order: Order, home: Path) -> None:
    """Have the error say what the user calls the model, and begin with it if need be."""
    source = source_of(order)
    if isinstance(error, OSError):
        if error.filename is not None:
            error.filename = _without_ours(str(error.filename), source, home)
        return
    message = _without_ours(str(error), source, home)
    if isinstance(order, Import) and (path := Path(order.path)).is_file():
        message = message.replace(local.gguf_path(path, Path()).name, path.name)
    is_of_files = isinstance(error, NotAModel | BrokenWeights | ConversionFailed)
    if is_of_files and not isinstance(order, Verify) and not _is_named(source, message):
        message = f"{source}: {message}"
    error.args = (message,)


def _without_ours(text: str, source: str, home: Path) -> str:
    """A file in a folder of ours by its name in it, the folder by what the user calls it."""
    place = rf"{re.escape(str(home))}/(?:partial|models)/[A-Za-z0-9._-]+"
    ours = rf"(?<![A-Za-z0-9._-])(?:{place}/(?:{_OURS})|{place}|{_OURS})(?![A-Za-z0-9_-])"
    return re.sub(
        rf"{ours}(/(?=[^\s'\"]))?", lambda match: "" if match[1] is not None else source, text
    )


def _is_named(source: str, message: str) -> bool:
    """Whether the message says which model it is about; of a file, its name is enough."""
    name = PurePosixPath(source).name
    return source in message or ("." in name and name in message)
