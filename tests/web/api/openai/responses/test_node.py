"""OpenAI's SDK for Node and the Vercel AI SDK, unmodified, over HTTP and WebSocket."""

from pathlib import Path

import pytest

from tests import node
from tests.serving import ServerProcess


@pytest.mark.slow
@pytest.mark.parametrize("name", ["responses.js", "vercel_responses.js"])
def test_a_program_ends_well(responses_server: ServerProcess, tmp_path: Path, name: str) -> None:
    """It checks what it gets, by itself."""
    node.run(responses_server, name, tmp_path)
