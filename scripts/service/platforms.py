"""The two systems that a service can be installed on."""

import sys
from pathlib import Path
from typing import Literal, get_args

from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from .launchd import Launchd
from .supervisor import Supervisor
from .systemd import Systemd

Platform = Literal["macos", "linux"]
PLATFORMS: tuple[Platform, ...] = get_args(Platform)

here: Platform = "macos" if sys.platform == "darwin" else "linux"


def supervisor(platform: Platform) -> Supervisor:
    """Who runs services there."""
    return Launchd() if platform == "macos" else Systemd()


def log_file(platform: Platform, name: str = "mlx-edge") -> Path:
    """Where a service writes there: ~/Library/Logs/mlx-edge/mlx-edge.log on a Mac."""
    folders = MacOS if platform == "macos" else Unix
    return Path(folders("mlx-edge", appauthor=False).user_log_dir) / f"{name}.log"
