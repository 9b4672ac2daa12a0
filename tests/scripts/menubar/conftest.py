"""What a Mac has and Linux has not: rumps, AppKit, `open` and `pbcopy`."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_MAC = Path(__file__).with_name("mac")


def _fresh(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _MAC / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rumps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`import rumps` finds the stand-in, a new one for each test; no callback of it may fail."""
    module: Any = _fresh("rumps")
    monkeypatch.setitem(sys.modules, "rumps", module)
    yield module
    assert module.errors == []


@pytest.fixture
def appkit(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = _fresh("AppKit")
    monkeypatch.setitem(sys.modules, "AppKit", module)
    return module


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`open` and `pbcopy` write into files of this folder what they are given."""
    folder = tmp_path / "desk"
    folder.mkdir()
    for name, script in (("open", f'printf %s "$1" > {folder}/opened'),
                         ("pbcopy", f"cat > {folder}/copied")):  # fmt: skip
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder
