"""Tests of the menu bar at login, with a stand-in of launchd."""

import importlib.util
import plistlib
import sys
from pathlib import Path

import pytest

from tests.scripts.test_cli import run
from tests.service_managers import launchd_stand_in

pytestmark = pytest.mark.slow


@pytest.fixture
def rumps(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has it."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "rumps.py").touch()
    return {"PYTHONPATH": str(folder)}


def test_a_menu_bar_without_rumps_is_refused(tmp_path: Path) -> None:
    """It would end at once; nothing is written, and it is told what to install."""
    if importlib.util.find_spec("rumps") is not None:
        pytest.skip("it is here")
    with launchd_stand_in(tmp_path) as manager:
        for words in (["install", "--port", "0", "--menubar"], ["menubar", "on"]):
            refused = manager.run("service", *words)
            assert refused.returncode == 1
            assert "pip install 'mlx-edge[menubar]'" in refused.stderr
        assert manager.files() == set()


def test_the_menu_bar_comes_and_goes_with_it(tmp_path: Path, rumps: dict[str, str]) -> None:
    """A second agent, for the server as it is installed now; it goes where that is said."""
    menubar = Path("Library/LaunchAgents/com.mlx-edge.menubar.plist")
    with launchd_stand_in(tmp_path) as manager:
        manager.install("--menubar", **rumps)
        url = manager.status()["url"]
        keys = plistlib.loads((manager.user / menubar).read_bytes())
        assert keys["ProgramArguments"][-7:-2] == [
            "--home", str(manager.home), "menubar", "--server", url
        ]  # fmt: skip
        assert Path(keys["ProgramArguments"][-1]).name == "menubar.log"  # which is kept small
        manager.install("--no-menubar")
        assert menubar not in manager.files()
        manager.install("--menubar", **rumps)
        # The server is elsewhere now, and who wanted it in the menu bar still does.
        manager.install(**rumps)
        keys = plistlib.loads((manager.user / menubar).read_bytes())
        assert keys["ProgramArguments"][-3] == manager.status()["url"] != url
        assert manager.run("service", "uninstall").returncode == 0
        assert not [path for path in manager.files() if path.suffix == ".plist"]
        assert not manager.processes()


def test_the_menu_bar_at_login_is_switched_by_itself(tmp_path: Path, rumps: dict[str, str]) -> None:
    """As its own item does it: what runs now goes on, and nothing else is started."""
    menubar = Path("Library/LaunchAgents/com.mlx-edge.menubar.plist")
    with launchd_stand_in(tmp_path) as manager:
        assert manager.run("service", "menubar", "status").returncode == 3
        url = "http://127.0.0.1:9999"
        switched = manager.run("service", "menubar", "on", "--server", url, **rumps)
        assert switched.returncode == 0, switched.stderr
        assert manager.run("service", "menubar", "status").returncode == 0
        keys = plistlib.loads((manager.user / menubar).read_bytes())
        assert keys["ProgramArguments"][-5:-2] == ["menubar", "--server", url]
        assert not manager.processes()
        for _ in range(2):  # also of what is off
            assert manager.run("service", "menubar", "off").returncode == 0
        assert menubar not in manager.files()
        assert manager.run("service", "menubar", "status").returncode == 3


def test_there_is_a_menu_bar_on_a_mac_only(tmp_path: Path) -> None:
    if sys.platform == "darwin":
        pytest.skip("this is one")
    for words in (["install", "--menubar"], ["menubar", "on"], ["menubar", "status"]):
        refused = run(tmp_path, "service", *words)
        assert refused.returncode == 2 and "The menu bar is for macOS" in refused.stderr
