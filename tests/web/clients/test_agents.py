"""Coding agents, unmodified, against the real server: a session runs and ends by itself.

They are pointed here by hand; `mlx-edge launch` does it in tests/scripts. The model is random and
reads 64k tokens, of which Claude Code takes some 37,000 at once. What is looked at is the wire.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import packages
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


def test_codex(server: ServerProcess, tmp_path: Path) -> None:
    """One question is one request over the Responses API, and the session ends with its answer."""
    provider = {
        "model": "tiny",
        "model_provider": "edge",
        "model_providers.edge.name": "edge",
        "model_providers.edge.base_url": f"{server.url}/v1",
        "model_providers.edge.wire_api": "responses",
        "model_providers.edge.env_key": "EDGE_KEY",
    }
    settings = [word for name, value in provider.items() for word in ("-c", f'{name}="{value}"')]
    before = outcomes(server)
    command = [str(installed("codex")), "exec", "--skip-git-repo-check", "--json"]
    task = "create a file hello.txt with this content: hello"
    printed = run([*command, *settings, task], tmp_path, EDGE_KEY=KEY)
    events = [json.loads(line) for line in printed.splitlines()]
    last = events[-1]
    assert last["type"] == "turn.completed", printed
    assert last["usage"]["input_tokens"] > 5000 and last["usage"]["output_tokens"] > 0
    after = outcomes(server)
    assert after["finished"] - before["finished"] == 1
    assert after["failed"] == after["refused"] == 0


def test_openais_agents_sdk(server: ServerProcess, tmp_path: Path) -> None:
    """A tool is called, run and answered; the SDK asks once for each, over HTTP and WebSocket."""
    folder = packages.importable("openai-agents==0.24.0")
    before = outcomes(server)
    script = str(Path(__file__).with_name("agents_sdk.py"))
    said = run([sys.executable, script, f"{server.url}/v1"], tmp_path, PYTHONPATH=str(folder))
    assert said == "done\n"
    after = outcomes(server)
    assert after["finished"] - before["finished"] == 8
    assert after["failed"] == after["refused"] == 0


def test_openais_agents_sdk_for_node(server: ServerProcess, tmp_path: Path) -> None:
    modules = packages.installed("@openai/agents@0.20.0", "openai@6.49.0", "zod@4")
    before = outcomes(server)
    script = modules.parent / "agents_sdk.mjs"
    shutil.copy(Path(__file__).with_name("agents_sdk.mjs"), script)
    assert run(["node", str(script), f"{server.url}/v1"], tmp_path) == "done\n"
    after = outcomes(server)
    assert after["finished"] - before["finished"] == 4
    assert after["failed"] == after["refused"] == 0
