"""The processes of a server: what each is there for, and whether it could reach anybody."""

import contextlib
import os
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
_TOOLS = {"caffeinate": "keeps the Mac awake"}  # programs of the system
_DOWNLOADS = (SERVER, "pip")

Models: TypeAlias = Mapping[str, str]  # ids, by their folders


class Process(msgspec.Struct, frozen=True):
    """One of a server's tree."""

    pid: int
    role: str
    model: str | None  # of an engine
    sealed: bool | None  # None where nobody can tell
    needs_network: bool  # it is there to download
    is_tool: bool = False  # a program of the system, with no use for a network


def processes(server: int, models: Models) -> list[Process]:
    """The server and all that it started, by pid. What ends meanwhile is left out."""
    found = [_told(server, SERVER, None)]
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(server).children():
            found += _tree(child, models)
    return found


def _tree(process: psutil.Process, models: Models, under: str | None = None) -> Iterator[Process]:
    try:
        command, children = process.cmdline(), process.children()
    except psutil.NoSuchProcess:
        return
    role, model = _role(command, models)
    role = role or (f"started by {under}" if under else "unknown")
    yield _told(process.pid, role, model)
    for child in children:
        yield from _tree(child, models, role)


def _told(pid: int, role: str, model: str | None) -> Process:
    is_tool = role in _TOOLS.values()
    return Process(pid, role, model, is_sealed(pid), role in _DOWNLOADS, is_tool)


def _role(command: Sequence[str], models: Models) -> tuple[str | None, str | None]:
    """By the command line; a tool by its name."""
    if command and (tool := _TOOLS.get(os.path.basename(command[0]))):
        return tool, None
    at = next((at for at, word in enumerate(command) if word in _ROLES), None)
    if at is None:
        return None, None
    role = _ROLES[command[at]]
    folder = command[at + _FOLDER_AT] if len(command) > at + _FOLDER_AT else ""
    return role, models.get(folder) if role == "engine" else None
