"""Tests of a home's key: a file for the user alone, or the Keychain through a tool."""

import stat
import sys
from pathlib import Path

import pytest

from runtime.disk import home_key, keychain
from runtime.disk.home_key import KeyUnavailable
from runtime.memory import darwin

# Keeps secrets in a folder, in the words of security(1).
TOOL = """#!{python}
import pathlib, shlex, sys
folder = pathlib.Path({folder!r})
if (folder / "locked").exists():
    sys.exit(36)
words = shlex.split(sys.stdin.read()) if sys.argv[1] == "-i" else sys.argv[1:]
command, options = words[0], words[1:]
item = folder / options[options.index("-a") + 1]
if command == "add-generic-password":
    if not (folder / "full").exists():
        item.write_text(options[options.index("-w") + 1])
    sys.exit(0)
if not item.exists():
    sys.exit(44)
if command == "find-generic-password":
    print(item.read_text())
else:
    assert command == "delete-generic-password"
    item.unlink()
"""


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Mac, wherever the tests run: nothing of theirs goes into a person's Keychain."""
    monkeypatch.setattr(darwin, "is_here", lambda: False)


@pytest.fixture
def keychain_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Mac, as far as keys go; what its Keychain holds."""
    folder = tmp_path / "keychain"
    folder.mkdir()
    tool = tmp_path / "security"
    tool.write_text(TOOL.format(python=sys.executable, folder=str(folder)))
    tool.chmod(0o700)
    monkeypatch.setattr(keychain, "tool", str(tool))
    monkeypatch.setattr(darwin, "is_here", lambda: True)
    return folder


def test_a_file_for_the_user_alone(tmp_path: Path) -> None:
    key = home_key.load_or_make(tmp_path)
    assert len(key) == 32 and home_key.load_or_make(tmp_path) == key
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_bytes() == key
    home_key.delete(tmp_path)
    home_key.delete(tmp_path)
    assert home_key.load_or_make(tmp_path) != key


def test_homes_and_purposes_have_keys_of_their_own(tmp_path: Path) -> None:
    homes = tmp_path / "a", tmp_path / "b"
    for home in homes:
        home.mkdir()
    first, second = map(home_key.load_or_make, homes)
    assert first != second
    assert home_key.derived(first, "names") != home_key.derived(first, "content")


def test_a_key_that_was_cut_is_no_key(tmp_path: Path) -> None:
    home_key.load_or_make(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"short")
    with pytest.raises(KeyUnavailable, match="5 bytes and not 32: remove it"):
        home_key.load_or_make(tmp_path)


def test_the_keychain_of_a_mac(tmp_path: Path, keychain_folder: Path) -> None:
    key = home_key.load_or_make(tmp_path)
    assert home_key.load_or_make(tmp_path) == key
    (item,) = keychain_folder.iterdir()
    assert item.read_text() == key.hex()
    assert not (tmp_path / "prefixes.key").exists()
    home_key.delete(tmp_path)
    home_key.delete(tmp_path)
    assert not list(keychain_folder.iterdir())


def test_a_keychain_that_is_locked_may_have_a_key(tmp_path: Path, keychain_folder: Path) -> None:
    """So none is made beside it."""
    (keychain_folder / "locked").touch()
    with pytest.raises(KeyUnavailable, match="ended with 36"):
        home_key.load_or_make(tmp_path)
    assert not (tmp_path / "prefixes.key").exists()


def test_a_keychain_that_takes_nothing(tmp_path: Path, keychain_folder: Path) -> None:
    """The key is in a file then, and stays there."""
    (keychain_folder / "full").touch()
    key = home_key.load_or_make(tmp_path)
    (keychain_folder / "full").unlink()
    assert (tmp_path / "prefixes.key").read_bytes() == key == home_key.load_or_make(tmp_path)


def test_no_tool(tmp_path: Path, keychain_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keychain, "tool", str(tmp_path / "nothing"))
    with pytest.raises(KeyUnavailable, match="does not run"):
        home_key.load_or_make(tmp_path)
