"""`python -m tests.mac_cli …`: the mlx-edge command, whose services go to a stand-in of launchd."""

import os

from scripts.cli import main
from scripts.service import launchd, platforms

LAUNCHCTL = "STAND_IN_LAUNCHCTL"

if __name__ == "__main__":
    platforms.here = "macos"
    launchd.tool = os.environ[LAUNCHCTL]
    main()
