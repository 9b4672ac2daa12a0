"""Tests of what doctor says of the home and its disk."""

import os
import re
import shlex
import time
from pathlib import Path

import pytest

from runtime.memory import darwin
from scripts.doctor import place
from scripts.doctor.finding import Finding

GB = 1 << 30


def of(home: Path) -> dict[str, Finding]:
    return {finding.checked: finding for finding in place.findings(home)}


def test_a_home_that_is_not_there_yet(tmp_path: Path) -> None:
    """It is no fault, and it is not made by being asked for."""
    home = tmp_path / "one" / "two"
    told = of(home)
    assert {told[name].level for name in ("home", "disk space", "place")} == {"ok"}
    assert "first needed" in told["home"].sentence and not home.parent.exists()


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_home_that_may_not_be_written(tmp_path: Path, mode: int) -> None:
    """By its mode: root could write it, and its user could not."""
    tmp_path.chmod(mode)
    try:
        told = of(tmp_path)["home"]
    finally:
        tmp_path.chmod(0o700)
    assert told.level == "problem" and told.remedy is not None and "chmod" in told.remedy


def test_a_home_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        assert of(home)["home"].level == "problem"


@pytest.mark.parametrize(
    ("free", "level"), [(GB - 1, "problem"), (5 * GB, "warning"), (500 * GB, "ok")]
)
def test_a_disk_that_is_nearly_full(free: int, level: str) -> None:
    told = place.space(Path("/home"), free)
    assert told.level == level and (told.remedy is None) is (level == "ok")


@pytest.mark.parametrize(
    ("home", "service"),
    [
        ("/Users/me/Library/Mobile Documents/com~apple~CloudDocs/edge", "iCloud Drive"),
        ("/Users/me/Library/CloudStorage/Dropbox/edge", "CloudStorage"),
        ("/home/me/Dropbox (Private)/edge", "Dropbox (Private)"),
        ("/Users/me/OneDrive - Firm/edge", "OneDrive - Firm"),
        ("/Users/me/Library/Application Support/mlx-edge", None),
        ("/home/me/my Dropbox notes/edge", None),
    ],
)
def test_a_home_that_is_copied_elsewhere(home: str, service: str | None) -> None:
    """Conversations would leave the machine: that is a problem, and not a matter of taste."""
    assert place.synced_by(Path(home)) == service
    told = place.shared(Path(home), [])
    assert told.level == ("ok" if service is None else "problem")


def test_on_a_mac_the_documents_may_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the user has iCloud Drive do it: then it has a folder of that name."""
    monkeypatch.setattr(darwin, "is_here", lambda: True)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    home = tmp_path / "Documents" / "edge"
    assert place.synced_by(home) is None
    (tmp_path / "Library/Mobile Documents/com~apple~CloudDocs/Documents").mkdir(parents=True)
    assert "Documents" in str(place.synced_by(home))


def test_a_home_on_a_network_disk() -> None:
    """The nearest mount counts."""
    mounts = [("/", "ext4"), ("/net", "nfs4"), ("/net/here", "ext4")]
    assert place.shared(Path("/net/home"), mounts).level == "warning"
    assert place.shared(Path("/net/here/home"), mounts).level == "ok"
    assert place.shared(Path("/network/home"), mounts).level == "ok"


def test_a_download_that_nobody_went_on_with(tmp_path: Path) -> None:
    """Of yesterday's and before; what came today may still arrive."""
    for name, age_days in (("old", 3), ("new", 0)):
        part = tmp_path / "partial" / name / "hub-1" / "model.safetensors.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(bytes(3 << 20))
        then = time.time() - age_days * 86400
        for path in (part, part.parent, part.parent.parent):
            os.utime(path, (then, then))
    (tmp_path / "partial" / "empty").mkdir()
    (told,) = place.stale_downloads(tmp_path)
    assert told.sentence.startswith("3 MB of old") and "mlx-edge rm old" in str(told.remedy)


def test_a_download_that_ends_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file has got its name between two looks: that is no end of doctor."""
    part = tmp_path / "partial" / "new" / "model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1 << 20))
    look = os.lstat

    def lstat(path: str) -> os.stat_result:
        part.unlink(missing_ok=True)
        return look(path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert [*place.stale_downloads(tmp_path)] == []


def test_commands_are_to_be_copied(tmp_path: Path) -> None:
    """The usual home on a Mac has a blank in it."""
    home = tmp_path / "Application Support"
    home.mkdir(mode=0o500)
    told = of(home)["home"]
    (command,) = re.findall("`(.*)`", str(told.remedy))
    assert shlex.split(command) == ["chmod", "u+rwx", str(home)]
    synced = place.shared(Path("/Users/me/Library/Mobile Documents/edge"), [])
    assert "`mv '/Users/me/Library/Mobile Documents/edge' ~/mlx-edge`" in str(synced.remedy)
