"""Tests of `mlx-edge key`: the key of a home, and who takes it."""

import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from runtime.disk.keychain import account_of
from scripts import api_key
from scripts.api_key import KeyUnavailable
from tests.runtime.disk.test_home_key import keychain_folder  # noqa: F401  # a fixture
from tests.scripts.test_cli import run
from tests.serving import ROOT, ServerProcess

FROM_ELSEWHERE = "http://192.0.2.1:1"


def choose(home: Path, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.cli", "--home", str(home), "key", "set"]
    return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=60)


def test_shown_made_chosen_forgotten(tmp_path: Path) -> None:
    """In a file for the user alone; who has none has the default."""
    home = tmp_path / "home"
    assert run(home, "key").stdout == "1234\n"
    made = run(home, "key", "new")
    key = run(home, "key").stdout.strip()
    assert made.returncode == 0 and key not in made.stdout and len(key) >= 32
    assert stat.S_IMODE((home / "api-key").stat().st_mode) == 0o600
    run(home, "key", "new")
    assert run(home, "key").stdout.strip() not in (key, "1234")
    chosen = choose(home, "sesame\n")
    assert chosen.returncode == 0 and "sesame" not in chosen.stdout + chosen.stderr
    assert run(home, "key").stdout == "sesame\n"
    assert "1234 again" in run(home, "key", "forget").stdout
    assert run(home, "key").stdout == "1234\n" and not (home / "api-key").exists()
    assert run(home, "key", "forget").returncode == 0


@pytest.mark.parametrize("text", ["", "\n", "a b\n", "ключ\n", "x" * 513])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    """The one before stays."""
    choose(tmp_path, "sesame\n")
    refused = choose(tmp_path, text)
    assert refused.returncode == 1 and "1 to 512 ASCII characters" in refused.stderr
    assert run(tmp_path, "key").stdout == "sesame\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read(tmp_path: Path, mode: int) -> None:
    """Its key is not used, and no default in its place either."""
    choose(tmp_path, "sesame\n")
    (tmp_path / "api-key").chmod(mode)
    for command in (["key"], ["serve", "--port", "0"], ["ps"], ["service", "show"]):
        refused = run(tmp_path, *command)
        assert refused.returncode == 1 and "may be read by others" in refused.stderr
        assert "sesame" not in refused.stderr and "Traceback" not in refused.stderr
    assert run(tmp_path, "key", "new").returncode == 0 == run(tmp_path, "key").returncode


def test_a_file_with_something_else_in_it(tmp_path: Path) -> None:
    choose(tmp_path, "sesame\n")
    for content in (b"", b"\xff\xfe", b"a b", b"one\ntwo\n"):
        (tmp_path / "api-key").write_bytes(content)
        refused = run(tmp_path, "key")
        assert refused.returncode == 1 and "`mlx-edge key new` makes another" in refused.stderr


def test_server_and_commands_take_it(tmp_path: Path) -> None:
    """Where nothing nearer names another: a flag, the environment, config.toml."""
    home = tmp_path / "home"
    choose(home, "of-home\n")

    def is_accepted(server: ServerProcess, key: str) -> bool:
        models = httpx.get(f"{server.url}/v1/models", headers={"x-api-key": key})
        return models.status_code == 200

    with ServerProcess(home) as server:
        assert is_accepted(server, "of-home") and not is_accepted(server, "1234")
        assert "of-home" not in server.log
        address = ("--server", server.url)
        assert run(home, "ps", *address).returncode == 0
        assert "Unauthorized" in run(home, "ps", *address, "--api-key", "another").stderr
        assert "Unauthorized" in run(tmp_path / "other", "ps", *address).stderr
    with ServerProcess(home, environment={"MLX_EDGE_API_KEY": "of-shell"}) as server:
        assert is_accepted(server, "of-shell") and not is_accepted(server, "of-home")
    (home / "config.toml").write_text('[serve]\napi-key = "of-file"\n')
    with ServerProcess(home) as server:
        assert is_accepted(server, "of-file") and not is_accepted(server, "of-home")
        assert run(home, "ps", "--server", server.url).returncode == 0


def test_the_key_of_config_toml_is_told(tmp_path: Path) -> None:
    """It is the key, and whoever keeps another hears so."""
    (tmp_path / "config.toml").write_text('[serve]\napi-key = "of-file"\n')
    for command in (["new"], ["forget"]):
        told = run(tmp_path, "key", *command)
        assert told.returncode == 0 and f"{tmp_path / 'config.toml'} has api-key" in told.stdout
        assert "1234" not in told.stdout
    assert "config.toml has api-key" in choose(tmp_path, "sesame\n").stdout
    assert run(tmp_path, "key").stdout == "of-file\n"


def test_another_machine_is_not_shown_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of this home is for servers of this machine."""
    from click.testing import CliRunner

    from scripts.cli import cli

    api_key.save(tmp_path, "sesame")
    sent: list[tuple[str, str]] = []

    def refuse(method: str, server: str, path: str, key: str) -> None:
        sent.append((server, key))
        raise KeyboardInterrupt

    monkeypatch.setattr("scripts.remote.request", refuse)
    monkeypatch.delenv("MLX_EDGE_API_KEY", raising=False)
    servers = ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", FROM_ELSEWHERE,
               "http://127.0.0.1.example:1", "http://[broken"]  # fmt: skip
    for server in servers:
        CliRunner().invoke(cli, ["--home", str(tmp_path), "ps", "--server", server])
    CliRunner().invoke(cli, ["--home", str(tmp_path), "ps"])
    assert [key for _, key in sent] == ["sesame"] * 3 + ["1234"] * 3 + ["sesame"]


def test_the_keychain_of_a_mac(tmp_path: Path, keychain_folder: Path) -> None:  # noqa: F811
    """It is kept there, apart from the key of the prefixes, and a file of before is gone."""
    (tmp_path / "api-key").write_text("old\n")
    (tmp_path / "api-key").chmod(0o600)
    assert api_key.save(tmp_path, "sesame") == "the Keychain"
    assert api_key.load(tmp_path) == "sesame" and not (tmp_path / "api-key").exists()
    assert (keychain_folder / account_of(tmp_path)).exists()
    api_key.forget(tmp_path)
    assert api_key.load(tmp_path) is None and not list(keychain_folder.iterdir())


def test_a_keychain_that_is_locked(tmp_path: Path, keychain_folder: Path) -> None:  # noqa: F811
    """It may have a key, so the default is not used; a new one goes into a file."""
    (keychain_folder / "locked").touch()
    with pytest.raises(KeyUnavailable, match="ended with 36"):
        api_key.load(tmp_path)
    assert api_key.save(tmp_path, "sesame") == str(tmp_path / "api-key")
    assert api_key.load(tmp_path) == "sesame"
