"""Tests of scripts.menubar.login_item: what is asked of `mlx-edge service menubar`, and how."""

import sys
from pathlib import Path

import pytest

from scripts.menubar.login_item import ServiceCommand
from scripts.menubar.trouble import NotDone

_URL = "http://127.0.0.1:8083"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The menu bar was started as `mlx-edge`: a command that keeps its state in a file."""
    program = tmp_path / "mlx-edge"
    program.write_text(
        f"""#!/bin/sh
cd {tmp_path}
echo "$*" >> calls
test "$4 $5" = "menubar status" && {{ test -e on; exit $((3 * $?)); }}
test "$5" = on && touch on
test "$5" = off && rm on
exit 0
"""
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "menubar"])
    return program


def test_it_is_asked_and_switched(program: Path, tmp_path: Path) -> None:
    """By the name that this was called by, with the home and the server of this menu bar."""
    item = ServiceCommand(tmp_path / "home", _URL)
    assert not item.is_on()
    item.turn_on()
    assert item.is_on()
    item.turn_off()
    assert not item.is_on()
    first = f"--home {tmp_path}/home service menubar"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == f"{first} status" and calls[1] == f"{first} on --server {_URL}"
    assert calls[3] == f"{first} off"


def test_what_it_says_is_told(program: Path, tmp_path: Path) -> None:
    """The last line, for Click's first ones are how it is used."""
    program.write_text("#!/bin/sh\necho Usage: >&2; echo Error: no room >&2; exit 2\n")
    item = ServiceCommand(tmp_path, _URL)
    with pytest.raises(NotDone, match="`mlx-edge service menubar on`: Error: no room"):
        item.turn_on()
    with pytest.raises(NotDone, match="no room"):
        item.is_on()
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(NotDone, match="exit status 3"):  # which says "off" of a status only
        item.turn_off()
    program.unlink()
    with pytest.raises(NotDone, match="menubar status` failed"):
        item.is_on()


@pytest.mark.slow
def test_from_a_checkout_it_is_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no `mlx-edge` was called, wherever this is called from: the command's own words come
    back, whatever it answers here."""
    monkeypatch.setattr(sys, "argv", ["scripts/cli.py"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotDone, match="`mlx-edge service menubar nonsense`: Error: No such"):
        ServiceCommand(tmp_path, _URL)._run("nonsense")
