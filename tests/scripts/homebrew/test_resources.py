"""Tests of scripts.homebrew.resources: what the runtime needs on a Mac, as blocks of a formula."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from scripts.homebrew.resources import (
    FORMULA,
    Mac,
    Wheel,
    completed,
    locked,
    python_of,
    resources,
    told,
)
from tests.serving import ROOT

from .ruby import read

MAC = Mac("3.13")
PROJECT = """
[project]
dependencies = [
    "app[fast]>=1",
    "mlx>=0.32; sys_platform == 'darwin'",
    "mlx[cpu]>=0.32; sys_platform == 'linux'",
]
[project.optional-dependencies]
menubar = ["rumps>=0.4; sys_platform == 'darwin'"]
plot = ["pytest"]
[dependency-groups]
dev = ["pytest"]
"""
LOCK = """
app==1.2
fast-io==2.0
mlx-cpu==0.32.4 ; sys_platform == 'linux'
mlx-metal==0.32.4 ; sys_platform == 'darwin'
mlx==0.32.4 ; sys_platform == 'darwin' or sys_platform == 'linux'
numpy==2.4.6 ; python_full_version < '3.12'
numpy==2.5.5 ; python_full_version >= '3.12'
pytest==9.2.0
rumps==0.4.0 ; sys_platform == 'darwin'
"""
NEEDS = {
    "App": ["Fast_IO>=2; extra == 'fast'", "slow; extra == 'slow'", "numpy>=2"],
    "fast-io": ["app"],  # a circle
    "mlx": ["mlx-metal==0.32; platform_system=='Darwin'", "mlx-cpu; platform_system=='Linux'"],
    "mlx-metal": [],
    "numpy": ["tzdata; platform_system == 'Windows'"],
    "rumps": [],
}


def report(*names: str) -> bytes:
    """As `pip install --report` writes it (version 1 of the format), of an index that is none."""
    return json.dumps(
        {
            "version": "1",
            "install": [
                {
                    "download_info": {
                        "url": f"https://index.invalid/{name}-1{_ending(name)}",
                        "archive_info": {"hashes": {"sha256": f"{len(name):064x}"}},
                    },
                    "requested": True,
                    "metadata": {"name": name, "version": "1", "requires_dist": NEEDS[name]},
                }
                for name in names
            ],
        }
    ).encode()


def _ending(name: str) -> str:
    return ".tar.gz" if name == "rumps" else "-py3-none-any.whl"


def project(folder: Path, lock: str = LOCK) -> Path:
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "requirements.lock").write_text(lock)
    return folder


def test_lock_is_read_for_a_mac() -> None:
    """Versions for another Python or system do not count."""
    assert locked(LOCK, MAC) == {
        "app": "app==1.2",
        "fast-io": "fast-io==2.0",
        "mlx-metal": "mlx-metal==0.32.4",
        "mlx": "mlx==0.32.4",
        "numpy": "numpy==2.5.5",
        "pytest": "pytest==9.2.0",
        "rumps": "rumps==0.4.0",
    }


def test_only_what_runs(tmp_path: Path) -> None:
    """Needs of needs with their extras, in rounds; no tool of developers, nothing of Linux. The
    menu bar's too."""
    asked: list[list[str]] = []

    def ask(mac: Mac, pins: list[str]) -> list[Wheel]:
        asked.append(pins)
        spelled = {name.lower(): name for name in NEEDS}
        return told(report(*(spelled[pin.split("==")[0]] for pin in pins)))

    found = resources(MAC, ask, project(tmp_path))
    names = ["app", "fast-io", "mlx", "mlx-metal", "numpy", "rumps"]
    assert [wheel.name for wheel in found] == names
    assert asked == [
        ["app==1.2", "mlx==0.32.4", "rumps==0.4.0"],
        ["fast-io==2.0", "mlx-metal==0.32.4", "numpy==2.5.5"],
    ]


def test_not_locked(tmp_path: Path) -> None:
    """What a Mac needs and nobody locked is told by name, before anything is asked."""
    folder = project(tmp_path, LOCK.replace("mlx==0.32.4 ;", "# "))

    def ask(mac: Mac, pins: list[str]) -> list[Wheel]:
        raise AssertionError("asked")

    with pytest.raises(click.ClickException, match="mlx: needed on a Mac"):
        resources(MAC, ask, folder)


@pytest.mark.parametrize("bad", ["file:///wheels/mlx-1-py3-none-any.whl", "https://x/mlx.tar.gz"])
def test_addresses_that_are_of_no_use_to_others(bad: str) -> None:
    """A folder of this machine, and a source, are refused with the address."""
    text = report("mlx").replace(b"https://index.invalid/mlx-1-py3-none-any.whl", bad.encode())
    with pytest.raises(click.ClickException, match=f"mlx would come from {bad}"):
        told(text)


def test_formula(tmp_path: Path) -> None:
    """Ruby reads the whole; each wheel is installed, under its own name, before the project; and
    the one source."""
    wheels = told(report("mlx", "numpy", "rumps"))
    template = FORMULA.read_text()
    text = completed(template, "https://x.org/v0.1.0.tar.gz", "f" * 64, wheels)
    path = tmp_path / "formula.rb"
    path.write_text(text)
    formula = read(path)
    assert formula["resources"] == [
        {
            "name": name,
            "url": f"https://index.invalid/{name}-1{_ending(name)}",
            "sha256": f"{len(name):064x}",
            "using": "nounzip",
        }
        for name in ("mlx", "numpy", "rumps")
    ]
    files = ["mlx-1-py3-none-any.whl", "numpy-1-py3-none-any.whl", "rumps-1.tar.gz"]
    assert formula["installed"] == [*files, "mlx-edge-source"]
    assert formula["said"]["url"] == "https://x.org/v0.1.0.tar.gz"
    assert formula["said"]["sha256"] == "f" * 64
    assert text == completed(template, "https://x.org/v0.1.0.tar.gz", "f" * 64, wheels)


def test_no_formula_to_complete() -> None:
    with pytest.raises(click.ClickException, match="Here come the resources"):
        completed("class MlxEdge < Formula\nend\n", "https://x.org", "f" * 64, [])
    with pytest.raises(click.ClickException, match="depends_on"):
        python_of("class MlxEdge < Formula\nend\n")


def _index_answers(environment: dict[str, str]) -> bool:
    """For a package that every index has."""
    command = [sys.executable, "-m", "pip", "index", "versions", "click"]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


@pytest.mark.slow
def test_real_index(tmp_path: Path) -> None:
    """The whole closure, as the index has it for a Mac: MLX with Metal, and no tool of ours."""
    archive = tmp_path / "mlx-edge-0.1.0.tar.gz"
    archive.write_bytes(b"")
    output = tmp_path / "mlx-edge.rb"
    # The index alone: a folder of wheels on this machine is no place for others to find them.
    own = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    own["PIP_CONFIG_FILE"] = os.devnull
    command = [sys.executable, "-m", "scripts.homebrew.resources"]
    done = subprocess.run(
        [*command, "--archive", str(archive), "--output", str(output)],
        cwd=ROOT,
        env=own,
        capture_output=True,
        text=True,
    )
    if done.returncode and not _index_answers(own):
        pytest.skip(f"the index does not answer: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr
    formula = read(output)
    names = [resource["name"] for resource in formula["resources"]]
    assert names == sorted(names) and {"mlx", "mlx-metal", "numpy", "rumps"} <= set(names)
    assert not {"pytest", "mypy", "mlx-cpu", "playwright"} & set(names)
    files = {resource["url"].rsplit("/", 1)[1] for resource in formula["resources"]}
    sources = [name for name in files if not name.endswith(".whl")]
    assert sources == ["rumps-0.4.0.tar.gz"] and not any("linux" in name for name in files)
    assert {len(resource["sha256"]) for resource in formula["resources"]} == {64}
    assert len(formula["installed"]) == len(names) + 1
