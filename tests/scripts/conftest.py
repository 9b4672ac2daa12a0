"""A user of its own for tests that run commands in their process."""

from pathlib import Path

import pytest


@pytest.fixture
def own_user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has no service, no key and no settings, whoever runs the tests."""
    home: Path = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (
        ("CONFIG", ".config"),
        ("DATA", ".local/share"),
        ("STATE", ".local/state"),
    ):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / folder))
    for name in ("XDG_RUNTIME_DIR", "MLX_EDGE_HOME", "MLX_EDGE_SERVER", "MLX_EDGE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return home
