"""Real agents, started by `mlx-edge launch`, against the real server: what is judged is the wire.

First with all that they send, on a random model that reads it in a second. Then with a task, on a
real model that is too small for it: so with few instructions and few tools, by their own arguments.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.store.store import Store
from tests.agents import asked_for, installed, link_terse_model
from tests.models import smollm2
from tests.serving import KEY, ROOT, ServerProcess, link_model
from tests.wire import Wire

pytestmark = [pytest.mark.slow, asked_for]

SMOLLM2 = "smollm2-135m"  # by this name the catalog knows how it is sampled
TASK = "Create a file hello.txt with this content: hello"
_SESSION_S = 600
_MOST_REQUESTS = 12  # of a task: a title, the steps, and none again and again


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, smollm2_home: Path) -> Iterator[ServerProcess]:
    """Serves `terse` and SmolLM2."""
    folder = tmp_path_factory.mktemp("launched")
    packed = Store(smollm2_home).get(smollm2.MODEL_ID).folder
    link_terse_model(folder / "home", "terse", folder / "terse")
    smollm2.unpack(packed, folder / "smollm2", ends=(".", "\n\n"))  # it would ramble for minutes
    link_model(folder / "home", SMOLLM2, folder / "smollm2")
    with ServerProcess(folder / "home") as process:
        yield process


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[Wire]:
    with Wire(server.port) as relay:
        yield relay


def launch(wire: Wire, folder: Path, name: str, model: str, *arguments: str) -> str:
    """What the agent prints; it leaves nothing in the user's home, nor in ours."""
    home, edge, work = folder / "user", folder / "edge", folder / "work"
    home.mkdir()
    work.mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-m", "scripts.cli", "--home", str(edge), "launch", name]
    path = f"{installed(name).parent}:{os.environ['PATH']}"
    with subprocess.Popen(
        [*command, "--server", wire.url, "--model", model, *arguments],
        cwd=work,
        env={"PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            printed, errors = process.communicate(timeout=_SESSION_S)
        except BaseException:
            process.terminate()  # and so the agent, which a SIGKILL would leave behind
            raise
    assert process.returncode == 0, printed + errors
    assert not list(home.rglob("*"))
    assert [path.name for path in (edge / "launch").iterdir()] == ["lock"]
    return printed


def went_well(wire: Wire, model: str, most: int) -> None:
    """No error on any route, no other model, few requests, and tools in the last of them."""
    assert {said.status for said in wire.exchanges} == {200}
    assert 1 <= len(wire.asked) <= most
    assert {said.body["model"] for said in wire.asked} == {model}
    assert {said.key for said in wire.asked} == {f"Bearer {KEY}"}
    assert any(said.tools for said in wire.asked)


@pytest.mark.parametrize(
    ("name", "arguments", "most"),
    [
        ("claude", ("-p", "say hi"), 2),
        ("codex", ("exec", "--strict-config", "--skip-git-repo-check", "say hi"), 2),
        ("opencode", ("run", "say hi"), 3),  # a title too
    ],
)
def test_a_question(
    wire: Wire, tmp_path: Path, name: str, arguments: tuple[str, ...], most: int
) -> None:
    """With all their instructions and tools: a request and an answer, and the session ends.

    An answer of no words, as one in eight is here, may be asked for once more.
    """
    launch(wire, tmp_path, name, "terse", *arguments)
    went_well(wire, "terse", most)


def test_claude_is_told_the_context(wire: Wire, tmp_path: Path) -> None:
    """It believes the variable that says so."""
    arguments = ("-p", "say hi", "--output-format", "json")
    session = json.loads(launch(wire, tmp_path, "claude", "terse", *arguments))
    assert session["modelUsage"]["terse"]["contextWindow"] == 65_536
    assert {said.body["max_tokens"] for said in wire.asked} == {8192}


def test_a_task_for_claude(wire: Wire, tmp_path: Path) -> None:
    """It works with one tool and one sentence."""
    few = ("--tools", "Write", "--system-prompt", "You write files.")
    launch(wire, tmp_path, "claude", SMOLLM2, "-p", TASK, *few, "--permission-mode", "acceptEdits")
    went_well(wire, SMOLLM2, _MOST_REQUESTS)
    assert {tool for said in wire.asked for tool in said.tools} == {"Write"}


def test_a_task_for_codex(wire: Wire, tmp_path: Path) -> None:
    """Its instructions can be replaced, and much of its tools left out."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "short.md").write_text("You write files.")
    few = {
        "model_instructions_file": "short.md",
        "features.goals": "false",
        "features.skill_search": "false",
        "skills.bundled.enabled": "false",
    }
    settings = [word for name, value in few.items() for word in ("-c", f"{name}={value}")]
    flags = ("exec", "--skip-git-repo-check", "-s", "workspace-write", *settings)
    launch(wire, tmp_path, "codex", SMOLLM2, *flags, TASK)
    went_well(wire, SMOLLM2, _MOST_REQUESTS)
    assert "exec_command" in wire.asked[0].tools


def test_a_task_for_opencode(wire: Wire, tmp_path: Path) -> None:
    """A project's own settings hold: here, that it has short instructions and one tool."""
    agent = {"prompt": "You write files.", "tools": {"*": False, "write": True}}
    (tmp_path / "work").mkdir()
    settings = json.dumps({"agent": {"build": agent}})
    (tmp_path / "work" / "opencode.json").write_text(settings)
    launch(wire, tmp_path, "opencode", SMOLLM2, "run", TASK)
    went_well(wire, SMOLLM2, _MOST_REQUESTS)
