"""`python -m tests.carried_cli …`: the mlx-edge command, to which the wheel at CARRIED is known.

So that a server or a command in a process of its own takes a small model for the starter.
"""

import os
from pathlib import Path

from registry.hub import packages
from scripts.cli import main
from tests.models.tiny_package import NAME, carried

if __name__ == "__main__":
    packages.CARRIED[NAME] = carried(Path(os.environ["CARRIED"]))
    main()
