"""The processes of a server: what each is there for, and whether it could reach anybody."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec
import psutil

from runtime.processes.sealed import is_sealed

SERVER = "server"
# The modules that children are, in their command lines.
_ROLES = {
    "runtime.engine": "engine",
    "runtime.text": "text worker",
    "registry.convert": "job",
    "registry.pip": "pip",
}
_FOLDER_AT = 2  # of an engine's arguments, behind its module: a descriptor, the model's folder
_DOWNLOADS = (SERVER, "pip")

Models: TypeAlias = Mapping[str, str]  # ids, by their folders


class Process(msgspec.Struct, frozen=True):
    """One of a server's tree."""

    pid: int
    role: str
    model: str | None  # of an engine
    sealed: bool | None  # None where nobody can tell
    needs_network: bool  # it is there to download


def processes(server: int, models: Models) -> list[Process]:
    """The server and all that it started, by pid. What ends meanwhile is left out."""
    found = [_told(server, server, SERVER, None)]
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(server).children():
            found += _tree(child, server, models)
    return found


def _tree(
    process: psutil.Process, server: int, models: Models, under: str | None = None
) -> Iterator[Process]:
    try:
        children = process.children()
        try:
            command = process.cmdline()
        except psutil.AccessDenied:  # macOS, of one that is just becoming another program
            command = []
    except psutil.Error:
        return
    role, model = _role(command, models)
    role = role or (f"started by {under}" if under else "unknown")
    yield _told(process.pid, server, role, model)
    for child in children:
        yield from _tree(child, server, models, role)


def _told(pid: int, server: int, role: str, model: str | None) -> Process:
    return Process(pid, role, model, is_sealed(pid, server), role in _DOWNLOADS)


def _role(command: Sequence[str], models: Models) -> tuple[str | None, str | None]:
    """By the command line."""
    at = next((at for at, word in enumerate(command) if word in _ROLES), None)
    if at is None:
        return None, None
    role = _ROLES[command[at]]
    folder = command[at + _FOLDER_AT] if len(command) > at + _FOLDER_AT else ""
    return role, models.get(folder) if role == "engine" else None
