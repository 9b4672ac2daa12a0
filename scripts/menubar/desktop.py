"""The Mac's clipboard and browser, by the programs that stand for them."""

import subprocess
from typing import Protocol

from .trouble import NotDone

_LIMIT_S = 10.0


class Desktop(Protocol):
    """Each call may take a moment. Raises NotDone."""

    def open(self, url: str) -> None: ...

    def copy(self, text: str) -> None: ...


class MacDesktop:
    """open(1) hands a URL to the browser that the user chose; pbcopy(1) puts its standard input on
    the clipboard. Both end at once, with 0 where it went well."""

    def open(self, url: str) -> None:
        _run(["open", url], "")

    def copy(self, text: str) -> None:
        """The text is in no argument: those can be read by everybody on the machine."""
        _run(["pbcopy"], text)


def _run(command: list[str], text: str) -> None:
    try:
        subprocess.run(
            command, input=text, text=True, check=True, timeout=_LIMIT_S,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise NotDone(f"`{command[0]}` failed: {error}") from error
