"""Programs under Node against the real server: OpenAI's SDK and the Vercel AI SDK."""

from pathlib import Path

import pytest

from tests import node
from tests.serving import ServerProcess


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tools.js", "vercel.js"])
def test_a_program_ends_well(server: ServerProcess, tmp_path: Path, name: str) -> None:
    """It checks what it gets, by itself."""
    node.run(server, name, tmp_path)
