"""Tests of `service show`, and of options that are refused before anything is written."""

import plistlib
from pathlib import Path

import pytest

from tests.scripts.test_cli import run


def test_the_files_of_both_systems(tmp_path: Path) -> None:
    """On any system; the options may stand behind a -- or not."""
    shown = run(tmp_path, "service", "show", "--platform", "macos", "--port", "9000")
    keys = plistlib.loads(shown.stdout.encode())
    assert keys["ProgramArguments"][-7:-4] == ["serve", "--port", "9000"]
    assert keys["StandardOutPath"].endswith("/Library/Logs/mlx-edge/mlx-edge.log")
    unit = run(tmp_path, "service", "show", "--platform", "linux", "--", "--port", "9000").stdout
    assert '"serve" "--port" "9000" "--drain-timeout" "20s" "--log-file"' in unit
    assert "[Install]" in unit


def test_the_drain_of_config_toml_counts(tmp_path: Path) -> None:
    """As it is when the file is made: the server is told it, and its manager waits for it."""
    (tmp_path / "config.toml").write_text('[serve]\ndrain-timeout = "2m"\n')
    shown = run(tmp_path, "service", "show", "--platform", "macos")
    keys = plistlib.loads(shown.stdout.encode())
    assert keys["ExitTimeOut"] >= 120 + 15
    assert keys["ProgramArguments"][-4:-2] == ["--drain-timeout", "120s"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prot", "1"), "No such option"),
        (("--port", "70000"), "not in the range"),
        (("--port",), "requires an argument"),
        (("word",), "unexpected extra argument"),
        (("--api-key", "x"), "mlx-edge key set"),
        (("--api-key=x",), "mlx-edge key set"),
        (("--host", "0.0.0.0"), "the default key 1234 is public"),
    ],
)
def test_options_that_serve_would_refuse(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    for command in ("show", "install"):
        refused = run(tmp_path / "home", "service", command, *options)
        assert refused.returncode in (1, 2) and words in refused.stderr
        assert refused.stdout == ""


def test_a_key_of_the_home_opens_the_network(tmp_path: Path) -> None:
    """The key in this shell does not: the service will not have it."""
    assert run(tmp_path, "key", "new").returncode == 0
    assert run(tmp_path, "service", "show", "--host", "0.0.0.0").returncode == 0
