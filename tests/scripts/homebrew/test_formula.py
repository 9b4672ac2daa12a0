"""Tests of the Homebrew formula: Ruby reads it, and Homebrew's words are all that it says."""

import sys
import tomllib
from pathlib import Path

import pytest

from scripts.homebrew.resources import FORMULA
from tests.serving import ROOT

from .ruby import read, ruby, try_out


def test_ruby_reads_it() -> None:
    """Without a warning."""
    done = ruby("-wc", str(FORMULA))
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "Syntax OK", "")


def test_version() -> None:
    """It is the formula of this version, and says of the project what pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = read(FORMULA)["said"]
    assert said["url"].endswith(f"/v{project['version']}.tar.gz")
    assert said["license"] == project["license"]
    # `brew audit`: short, begins with no article, ends without a full stop.
    assert len(said["desc"]) < 80 and said["desc"].split()[0] not in ("A", "An", "The")
    assert said["desc"][-1] != "."


def test_python() -> None:
    """A Mac that MLX has wheels for, and the Python that the virtual environment is made of."""
    formula = read(FORMULA)
    assert formula["dependencies"] == [{"arch": "arm64"}, {"macos": "sonoma"}, "python@3.13"]
    assert formula["venv"]["python"] == "python3.13" and formula["venv"]["without_pip"]


def test_service() -> None:
    """After a crash it comes back, after `brew services stop` not, and a drain has its time."""
    log = "/opt/homebrew/var/log/mlx-edge.log"
    assert read(FORMULA)["service"] == {
        # By a name that outlives an upgrade.
        "run": ["/opt/homebrew/opt/mlx-edge/bin/mlx-edge", "serve", "--log-file", log],
        "keep_alive": {"successful_exit": False},
        "process_type": "interactive",
        "throttle_interval": 10,
        "stop_timeout": 60,
        "environment_variables": {
            "PATH": "/opt/homebrew/bin:/opt/homebrew/sbin:/usr/bin:/bin:/usr/sbin:/sbin"
        },
        "log_path": log,
        "error_log_path": log,
    }


@pytest.mark.parametrize(
    ("word", "typo"),
    [
        ("stop_timeout", "stop_time_out"),
        ("preserve_rpath", "preserve_rpaths"),
        ("successful_exit", "success_exit"),
        (":interactive", ":interacting"),
        ("pip_install_and_link", "pip_install_link"),
        ('"*.{whl,tar.gz}"', '"*.zip"'),
    ],
)
def test_typos_are_found(word: str, typo: str, tmp_path: Path) -> None:
    """What the other tests stand on: a word that Homebrew does not know is told by its name."""
    formula = tmp_path / "formula.rb"
    resource = 'resource "x" do\n    url "https://x/x-1-py3-none-any.whl", using: :nounzip\n  end'
    text = FORMULA.read_text().replace("# Here come the resources.", resource)
    formula.write_text(text.replace(word, typo))
    with pytest.raises(AssertionError, match="NameError|NoMethodError|TypeError|nothing"):
        read(formula)
    formula.write_text(text)
    assert read(formula)["installed"] == ["x-1-py3-none-any.whl", "mlx-edge-source"]


@pytest.mark.slow
def test_its_own_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `brew test` runs passes on what is installed here, a server that answers included."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = try_out(FORMULA, Path(sys.prefix))
    assert done.returncode == 0, done.stderr
    assert "Listening on http://127.0.0.1:" in done.stdout + done.stderr
