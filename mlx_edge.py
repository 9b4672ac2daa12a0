"""The launcher behind the `mlx-edge` command.

In a checkout this file lies beside the packages; in the wheel it is `mlx_edge/__init__.py` and
the packages lie beside it inside `mlx_edge/`, so that nothing named `web` is ever installed.
"""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from scripts.cli import main as run

    run()
