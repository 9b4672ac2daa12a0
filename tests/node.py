"""Programs under Node against a server of a test."""

import subprocess
from pathlib import Path

from tests.serving import ROOT, ServerProcess

_FOLDER = ROOT / "tests" / "javascript"


def run(server: ServerProcess, name: str, folder: Path) -> None:
    """One of `tests/javascript`, which checks what it gets by itself; `folder` is the test's."""
    script = _FOLDER / f".{folder.name}-{name}"  # beside node_modules
    source = (_FOLDER / name).read_text().replace("localhost:8083", f"localhost:{server.port}")
    script.write_text(source)
    try:
        result = subprocess.run(["node", script], capture_output=True, text=True, timeout=120)
    finally:
        script.unlink()
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
