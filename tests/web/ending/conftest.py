"""What the tests of the server's end share: homes of their own with the same small model."""

from pathlib import Path

import pytest

from tests.serving import link_model


@pytest.fixture
def home(tmp_path: Path, folder: Path) -> Path:
    link_model(tmp_path / "home", "tiny", folder)
    return tmp_path / "home"
