"""Coding agents, unmodified, against the real server: a session runs and ends by itself.

They are pointed here by hand; `mlx-edge launch` does it in tests/scripts. The model is random and
reads 64k tokens, of which Claude Code takes some 37,000 at once. What is looked at is the wire.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.agents import CONTEXT, asked_for, installed, link_terse_model
from tests.serving import KEY, ServerProcess

pytestmark = [pytest.mark.slow, asked_for]
_SESSION_S = 600


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("agents")
    link_terse_model(folder / "home", "tiny", folder / "tiny")
    with ServerProcess(folder / "home") as process:
        yield process


def run(command: list[str], folder: Path, **environment: str) -> str:
    """What it prints; in a home and a folder of its own."""
    home, work = folder / "user", folder / "work"
    home.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    done = subprocess.run(
        command,
        cwd=work,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SESSION_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def outcomes(server: ServerProcess) -> Counter[str]:
    """How the model's requests ended, so far."""
    text = httpx.get(server.url + "/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    lines = (line for line in text.splitlines() if line.startswith("mlx_edge_requests_total"))
    counts = ((line.split('outcome="')[1].split('"')[0], line.split()[-1]) for line in lines)
    return Counter({outcome: int(float(count)) for outcome, count in counts})


def test_claude_code(server: ServerProcess, tmp_path: Path) -> None:
    """One question is one request, or two where an answer has no words, and the session ends."""
    before = outcomes(server)
    printed = run(
        [str(installed("claude")), "-p", "say hi", "--output-format", "json"],
        tmp_path,
        ANTHROPIC_BASE_URL=server.url,
        ANTHROPIC_AUTH_TOKEN=KEY,
        ANTHROPIC_MODEL="tiny",
        ANTHROPIC_SMALL_FAST_MODEL="tiny",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    session = json.loads(printed)
    assert session["subtype"] == "success" and session["is_error"] is False
    assert session["stop_reason"] == "end_turn" and session["usage"]["input_tokens"] > 10_000
    after = outcomes(server)
    assert after["finished"] - before["finished"] == session["num_turns"] <= 2
    assert after["failed"] == after["refused"] == 0


def test_opencode(server: ServerProcess, tmp_path: Path) -> None:
    """A title and an answer, at once."""
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": server.url + "/v1", "apiKey": KEY},
        "models": {"tiny": {"name": "tiny", "limit": {"context": CONTEXT, "output": 4096}}},
    }
    settings = {
        "provider": {"local": provider},
        "model": "local/tiny",
        "small_model": "local/tiny",
        "autoupdate": False,
        "share": "disabled",
    }
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "opencode.json").write_text(json.dumps(settings))
    before = outcomes(server)
    assert run([str(installed("opencode")), "run", "say hi"], tmp_path)
    after = outcomes(server)
    assert after["finished"] - before["finished"] == 2
    assert after["failed"] == after["refused"] == 0
