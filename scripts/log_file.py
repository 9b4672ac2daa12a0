"""`--log-file`: all that a command and its children write, in one file of bounded size."""

import contextlib
import io
import os
import shutil
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry.store import durable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LIMIT_BYTES = 10_000_000
NUM_KEPT = 5  # of those before, each of about that size
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_LOOK_S = 1.0


class LogFile:
    """The file in which standard output and error end."""

    def __init__(
        self, path: Path, limit_bytes: int = LIMIT_BYTES, num_kept: int = NUM_KEPT
    ) -> None:
        self.path = path.absolute()
        self._limit_bytes = limit_bytes
        self._num_kept = num_kept

    def make(self) -> None:
        """Make it, for the user alone, if there is none. Raises OSError."""
        os.close(self._open())

    def take_over(self) -> None:
        """From now on the output of this process and of all that it starts goes there.

        What cannot be written is lost, and fails nothing: a full disk is not the clients' fault.
        Raises OSError if the file cannot be opened.
        """
        self._redirect()
        with contextlib.suppress(OSError):
            self.rotate()  # now too: who crashes again and again lives for no look of the thread
        # Through no buffer: what could not be written is not tried again, nor told at the end.
        sys.stdout = io.TextIOWrapper(_Unfailing(1, "wb", closefd=False), "utf-8",
                                      "backslashreplace", write_through=True)  # fmt: skip
        sys.stderr = io.TextIOWrapper(_Unfailing(2, "wb", closefd=False), "utf-8",
                                      "backslashreplace", write_through=True)  # fmt: skip
        threading.Thread(target=self._keep_small, name="log file", daemon=True).start()

    def rotate(self) -> None:
        """Set its content aside if it is too large. Raises OSError.

        It is copied and emptied, not renamed: children hold the same open file, and would go on
        writing into one that is no longer read. What comes between the last look and the
        emptying is lost. Where the disk has no room for a copy, all of it is.
        """
        if self.path.stat().st_size <= self._limit_bytes:
            return
        kept = [kept_before(self.path, number) for number in range(1, self._num_kept + 1)]
        kept[-1].unlink(missing_ok=True)  # first: its room is what the copy takes
        for older, newer in zip(kept[:0:-1], kept[-2::-1], strict=True):
            with contextlib.suppress(FileNotFoundError):
                newer.rename(older)
        try:
            with self.path.open("rb") as log, open(kept[0], "wb", opener=_private) as copy:
                shutil.copyfileobj(log, copy)
        except OSError:
            kept[0].unlink(missing_ok=True)
        os.truncate(self.path, 0)

    def _keep_small(self) -> None:
        pause = threading.Event()
        while not pause.wait(_LOOK_S):
            with contextlib.suppress(OSError):
                try:
                    self.rotate()
                except FileNotFoundError:  # removed by hand: the next lines go into a new one
                    self._redirect()

    def _redirect(self) -> None:
        descriptor = self._open()
        for output in (1, 2):
            os.dup2(descriptor, output)
        os.close(descriptor)

    def _open(self) -> int:
        durable.make_folder(self.path.parent)
        # Appending: who writes after it was emptied writes at its new end.
        descriptor = _private(str(self.path), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
        return descriptor


def write_to(path: Path) -> None:
    """Have the output of this command end there. Raises click.ClickException."""
    try:
        LogFile(path).take_over()
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error


class _Unfailing(io.FileIO):
    """A file whose disk may be full."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def kept_before(path: Path, number: int) -> Path:
    """Where what was in the log before is kept; 1 is the youngest."""
    return path.with_name(f"{path.name}.{number}")


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
