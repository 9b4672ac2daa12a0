"""An agent for tests of `mlx-edge launch`: it writes down how it was started, and does as told."""

import json
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.serving import ROOT

_PROGRAM = f"""\
#!{sys.executable}
import json, os, signal, sys, time
from pathlib import Path

words = [*os.environ.values(), *sys.argv[1:]]
folders = os.environ["FAKE_FOLDERS"] + os.sep
found = {{word[len(folders):].partition(os.sep)[0] for word in words if word.startswith(folders)}}
folder = Path(folders) / found.pop() if found else None
assert not found, found
files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
signals = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: signals.append(number))
record = {{
    "name": Path(sys.argv[0]).name,
    "arguments": sys.argv[1:],
    "environment": dict(os.environ),
    "folder": str(folder),
    "files": {{str(path.relative_to(folder)): path.read_text() for path in files}},
}}
Path(os.environ["FAKE_RECORD"]).write_text(json.dumps(record))
does = os.environ.get("FAKE_DOES", "")
if does == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if does == "waits":
    print("ready", flush=True)
    while signal.SIGTERM not in signals:
        time.sleep(0.02)
        if len(signals) > len(record.get("told", [])):
            record["told"] = list(signals)
            print("got", *signals, flush=True)
    sys.exit(5)
sys.exit(int(does or 0))
"""


@dataclass(frozen=True)
class Seen:
    """What it saw."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    folder: Path
    files: dict[str, str]


@dataclass(frozen=True)
class FakeAgent:
    """A world with a user: a home, an mlx-edge home, and a PATH with the agent alone on it."""

    folder: Path

    @property
    def user_home(self) -> Path:
        return self.folder / "user"

    @property
    def edge_home(self) -> Path:
        return self.folder / "edge home"

    @property
    def left(self) -> list[Path]:
        """Folders of sessions that are there."""
        return [path for path in (self.edge_home / "launch").glob("*") if path.is_dir()]

    @property
    def seen(self) -> Seen:
        """What it saw at its last start."""
        record = json.loads((self.folder / "record").read_text())
        return Seen(**record | {"folder": Path(record["folder"])})

    def install(self, name: str, program: str = _PROGRAM) -> None:
        """Put it on the PATH."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(program)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def environment(self, **more: str) -> dict[str, str]:
        """The user's: none of what this process has, so that nothing of it gets in."""
        self.user_home.mkdir(exist_ok=True)
        return {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.user_home),
            "LANG": "C.UTF-8",
            "FAKE_FOLDERS": str(self.edge_home / "launch"),
            "FAKE_RECORD": str(self.folder / "record"),
            **more,
        }

    def command(self, *arguments: str) -> list[str]:
        cli = [sys.executable, "-P", "-m", "scripts.cli", "--home", str(self.edge_home)]
        return [*cli, "launch", *arguments]

    def launch(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`mlx-edge launch`, to its end."""
        return self.run(self.command(*arguments), **more)

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(**more) | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def files_of_user(self) -> dict[str, Any]:
        """What is in the user's home: names, contents and times."""
        paths = sorted(self.user_home.rglob("*"))
        return {
            str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
            for path in paths
        }
