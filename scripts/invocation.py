"""How this command was called: so it is called again, by a service manager or the menu bar."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).resolve().parents[1]  # from where `scripts` is imported


class Invocation(NamedTuple):
    program: tuple[str, ...]  # the words before the options; the first is an absolute path
    folder: Path  # where they work


def invocation() -> Invocation:
    """This command, by a name that stays when the version behind it changes: what Homebrew links
    is not followed. Where it was not called by that name, it is the module that Python runs now.
    """
    called = shutil.which(sys.argv[0])
    if called is not None and Path(called).name == "mlx-edge":
        return Invocation((str(Path(called).absolute()),), Path.home())
    return Invocation((sys.executable, "-m", "scripts.cli"), _ROOT)
