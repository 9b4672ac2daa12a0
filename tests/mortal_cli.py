"""`python -m tests.mortal_cli …`: the mlx-edge command, whose engines die as planned.

For a server in a process of its own: `tests.runtime.deaths` says where they die.
"""

import pytest

from scripts.cli import main
from tests.runtime import deaths

if __name__ == "__main__":
    deaths.sow(pytest.MonkeyPatch())
    main()
