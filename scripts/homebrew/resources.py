"""Writes the Homebrew formula with its resources: what runs on a Mac, by address and hash.

    git archive --prefix mlx-edge-0.1.0/ --output mlx-edge-0.1.0.tar.gz v0.1.0
    python -m scripts.homebrew.resources --archive mlx-edge-0.1.0.tar.gz > mlx-edge.rb

Versions come from requirements.lock, addresses and hashes from the index that pip is configured
for; they are not committed, for an index is the user's choice. The formula goes into a tap.

Resources are wheels, where homebrew/core has sources: MLX publishes no source that builds alone,
and a compiler for Rust and half an hour would be needed for tokenizers and cryptography. rumps, of
the menu bar, is pure Python and published as a source alone.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
FORMULA = Path(__file__).with_name("mlx-edge.rb")

_PLATFORM = "macosx_14_0_arm64"  # Sonoma, as the formula says; MLX has wheels for nothing older
_EXTRA = "menubar"  # nobody adds an extra to what Homebrew has installed
_SOURCES = ("rumps",)
_PLACE = "  # Here come the resources.\n"


@dataclass(frozen=True)
class Wheel:
    """One distribution of the index, and what it needs in turn."""

    name: str
    url: str
    sha256: str
    needs: tuple[Requirement, ...]


class Mac:
    """Where the formula installs: what the markers of requirements ask (PEP 508).

    pip answers them for the machine that it runs on, also where `--platform` names another.
    """

    def __init__(self, python: str) -> None:
        self.python = python
        self._environment = {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "os_name": "posix",
            "platform_machine": "arm64",
            "platform_python_implementation": "CPython",
            "platform_system": "Darwin",
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": "darwin",
        }

    def applies(self, requirement: Requirement, extra: str = "") -> bool:
        """Whether it is needed here, by one that is installed with `extra`."""
        marker = requirement.marker
        return marker is None or marker.evaluate(self._environment | {"extra": extra})


Ask = Callable[[Mac, list[str]], list[Wheel]]


@click.command()
@click.option(
    "--archive",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The source of the release, from `git archive`.",
)
@click.option("--url", help="Where others find the archive; else the formula is for this machine.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the formula goes, in place of the terminal.",
)
def main(archive: Path, url: str | None, output: Path | None) -> None:
    """Write the formula with its resources, for a tap."""
    template = FORMULA.read_text()
    wheels = resources(Mac(python_of(template)), ask_index)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    formula = completed(template, url or archive.resolve().as_uri(), digest, wheels)
    if output is None:
        click.echo(formula, nl=False)
    else:
        output.write_text(formula)


def python_of(formula: str) -> str:
    """The minor version of Python that the formula depends on, such as "3.13"."""
    found = re.search(r'depends_on "python@(\d+\.\d+)"', formula)
    if found is None:
        raise click.ClickException('the formula has no line `depends_on "python@3.x"`.')
    return found[1]


def resources(mac: Mac, ask: Ask, root: Path = ROOT) -> list[Wheel]:
    """All that the project needs at run time, by name: in rounds, as wheels tell their needs."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lines = (*project["dependencies"], *project["optional-dependencies"][_EXTRA])
    roots = [Requirement(line) for line in lines]
    pins = locked((root / "requirements.lock").read_text(), mac)
    wheels: dict[str, Wheel] = {}
    while missing := sorted(_reached(roots, wheels, mac) - wheels.keys()):
        if unlocked := [name for name in missing if name not in pins]:
            raise click.ClickException(
                f"{', '.join(unlocked)}: needed on a Mac, and not in requirements.lock. "
                "Lock it for all platforms."
            )
        wheels |= {wheel.name: wheel for wheel in ask(mac, [pins[name] for name in missing])}
        if lost := [name for name in missing if name not in wheels]:
            raise click.ClickException(f"pip was asked for {', '.join(lost)} and did not tell.")
    return [wheels[name] for name in sorted(wheels)]


def locked(lock: str, mac: Mac) -> dict[str, str]:
    """The lines of requirements.lock that count on a Mac, as `name==version` by name."""
    lines = (Requirement(line) for line in lock.splitlines() if line and line[0] != "#")
    return {
        canonicalize_name(line.name): f"{line.name}{line.specifier}"
        for line in lines
        if mac.applies(line)
    }


def _reached(roots: Iterable[Requirement], wheels: dict[str, Wheel], mac: Mac) -> set[str]:
    """The names of what is needed, as far as the wheels at hand tell."""
    seen: set[tuple[str, str]] = set()
    waiting = [root for root in roots if mac.applies(root)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name in wheels:
                waiting += [need for need in wheels[name].needs if mac.applies(need, extra)]
    return {name for name, _ in seen}


def ask_index(mac: Mac, pins: list[str]) -> list[Wheel]:
    """What pip would install of `pins` on that Mac. Raises ClickException."""
    with tempfile.TemporaryDirectory() as target:  # pip wants one for another platform
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-",
             "--ignore-installed", "--no-deps", "--only-binary=:all:",
             f"--no-binary={','.join(_SOURCES)}", "--platform", _PLATFORM,
             "--implementation", "cp", "--python-version", mac.python, "--target", target, *pins],
            capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        raise click.ClickException(f"pip could not tell: {done.stderr.strip()[-500:]}")
    return told(done.stdout.encode())


def told(report: bytes) -> list[Wheel]:
    """The wheels of pip's installation report (its documentation has the format, version 1)."""
    return [_wheel(item) for item in msgspec.json.decode(report, type=_Report).install]


class _Archive(msgspec.Struct):
    hashes: dict[str, str]


class _Download(msgspec.Struct):
    url: str
    archive_info: _Archive


class _Metadata(msgspec.Struct):
    name: str
    requires_dist: list[str] = []


class _Item(msgspec.Struct):
    metadata: _Metadata
    download_info: _Download


class _Report(msgspec.Struct):
    install: list[_Item]


def _wheel(item: _Item) -> Wheel:
    name, url = canonicalize_name(item.metadata.name), item.download_info.url
    ending = ".tar.gz" if name in _SOURCES else ".whl"
    if not url.startswith("https://") or not url.endswith(ending):
        raise click.ClickException(
            f"{name} would come from {url}, and a formula needs the https address of a {ending}. "
            "Configure pip for an index that has it (`pip config list` shows what it uses)."
        )
    needs = tuple(Requirement(line) for line in item.metadata.requires_dist)
    return Wheel(name, url, item.download_info.archive_info.hashes["sha256"], needs)


def completed(template: str, url: str, sha256: str, wheels: list[Wheel]) -> str:
    """The formula for the source at `url`, with a resource for each wheel."""
    if template.count(_PLACE) != 1:
        raise click.ClickException(f"the formula has no line {_PLACE.strip()!r}.")
    formula = re.sub(r'^  url ".*"$', lambda _: f'  url "{url}"', template, count=1, flags=re.M)
    formula = re.sub(r'^  sha256 ".*"$', f'  sha256 "{sha256}"', formula, count=1, flags=re.M)
    return formula.replace(_PLACE, "\n".join(_block(wheel) for wheel in wheels))


def _block(wheel: Wheel) -> str:
    # Not unpacked: pip reads from a wheel's name what it is for.
    return (
        f'  resource "{wheel.name}" do\n'
        f'    url "{wheel.url}", using: :nounzip\n'
        f'    sha256 "{wheel.sha256}"\n'
        "  end\n"
    )


if __name__ == "__main__":
    main()
