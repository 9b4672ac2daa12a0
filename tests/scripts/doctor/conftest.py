"""doctor looks at what its user has installed: here that is nothing."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def nothing_installed(own_user: Path) -> None:
    """Whatever the user has who runs the tests."""
