"""Programs under Node against the real server: OpenAI's SDK and the Vercel AI SDK."""

import subprocess
from pathlib import Path

import pytest

from tests.serving import ROOT, ServerProcess

FOLDER = ROOT / "tests" / "javascript"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tools.js", "vercel.js"])
def test_a_program_ends_well(server: ServerProcess, tmp_path: Path, name: str) -> None:
    """It checks what it gets, by itself."""
    script = FOLDER / f".{tmp_path.name}-{name}"  # beside node_modules
    source = (FOLDER / name).read_text().replace("localhost:8083", f"localhost:{server.port}")
    script.write_text(source)
    try:
        result = subprocess.run(["node", script], capture_output=True, text=True, timeout=120)
    finally:
        script.unlink()
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
