"""Tests of `mlx-edge launch`, with an agent that writes down how it was started."""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.launch import launch
from tests.fake_agent import FakeAgent
from tests.models.tiny_encoders import make_bert
from tests.models.tiny_models import make_llama
from tests.serving import ServerProcess, import_model, link_model

NAMES = ("codex", "claude", "opencode", "aider")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `wide`, which reads 65,536 tokens, and an encoder, for a key of its own."""
    folder = tmp_path_factory.mktemp("wide")
    import_model(folder / "home", "vectors", make_bert(folder / "vectors"))
    link_model(folder / "home", "wide", make_llama(folder / "wide"), context_length=65_536)
    with ServerProcess(folder / "home", "--api-key", "secret") as server:
        yield server


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    """All four are this one. Whatever it is started with, the user's files stay as they are."""
    fake = FakeAgent(tmp_path)
    for name in NAMES:
        fake.install(name)
    for file in (".codex/config.toml", ".claude/settings.json", ".config/opencode/opencode.json"):
        (fake.user_home / file).parent.mkdir(parents=True)
        (fake.user_home / file).write_text("theirs")
    before = fake.files_of_user()
    yield fake
    assert fake.files_of_user() == before
    assert not fake.left


def on(server: ServerProcess, model: str = "tiny") -> tuple[str, ...]:
    return "--server", server.url, "--model", model


def test_codex_is_pointed_here(agent: FakeAgent, wide: ServerProcess) -> None:
    """By a configuration of its own, in which the key is not."""
    assert agent.launch("codex", *on(wide, "wide"), "--api-key", "secret").returncode == 0
    home = Path(agent.seen.environment["CODEX_HOME"]).relative_to(agent.seen.folder)
    config = tomllib.loads(agent.seen.files[f"{home}/config.toml"])
    provider = config["model_providers"][config["model_provider"]]
    assert config["model"] == "wide" and config["model_context_window"] == 65_536
    assert provider["base_url"] == f"{wide.url}/v1" and provider["wire_api"] == "responses"
    assert agent.seen.environment[provider["env_key"]] == "secret"
    assert "secret" not in json.dumps([agent.seen.files, agent.seen.arguments])


def test_claude_is_pointed_here(agent: FakeAgent, wide: ServerProcess) -> None:
    """By variables; the user's own key does not come along."""
    run = agent.launch(
        "claude", *on(wide, "wide"), "--api-key", "secret",
        ANTHROPIC_API_KEY="theirs", CLAUDE_CODE_USE_BEDROCK="1",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    seen = agent.seen.environment
    assert seen["ANTHROPIC_BASE_URL"] == wide.url and seen["ANTHROPIC_AUTH_TOKEN"] == "secret"
    assert seen["ANTHROPIC_MODEL"] == seen["ANTHROPIC_SMALL_FAST_MODEL"] == "wide"
    assert seen["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "65536"
    assert "ANTHROPIC_API_KEY" not in seen and "CLAUDE_CODE_USE_BEDROCK" not in seen
    assert Path(seen["CLAUDE_CONFIG_DIR"]).is_relative_to(agent.seen.folder)


def test_opencode_is_pointed_here(agent: FakeAgent, wide: ServerProcess) -> None:
    """By a configuration in a variable, which names the key's variable."""
    run = agent.launch(
        "opencode", *on(wide, "wide"), MLX_EDGE_API_KEY="secret", XDG_CONFIG_HOME="/their/own"
    )
    assert run.returncode == 0, run.stderr
    config = json.loads(agent.seen.environment["OPENCODE_CONFIG_CONTENT"])
    ((name, provider),) = config["provider"].items()
    assert config["model"] == config["small_model"] == f"{name}/wide"
    assert provider["options"]["baseURL"] == f"{wide.url}/v1"
    assert provider["options"]["apiKey"] == "{env:MLX_EDGE_API_KEY}"
    assert provider["models"]["wide"]["limit"] == {"context": 65_536, "output": 16_384}
    assert agent.seen.environment["MLX_EDGE_API_KEY"] == "secret"
    assert Path(agent.seen.environment["XDG_CONFIG_HOME"]).is_relative_to(agent.seen.folder)
    assert '"/their/own"' in agent.seen.files["config/opencode/plugin/folders.js"]


def test_aider_is_pointed_here(agent: FakeAgent, wide: ServerProcess) -> None:
    """By arguments, but for the key."""
    assert agent.launch("aider", *on(wide, "wide"), "--api-key", "secret").returncode == 0
    arguments = agent.seen.arguments
    given = dict(zip(arguments, arguments[1:], strict=False))
    assert given["--model"] == given["--weak-model"] == "openai/wide"
    assert given["--openai-api-base"] == f"{wide.url}/v1"
    assert agent.seen.environment["OPENAI_API_KEY"] == "secret" not in arguments
    metadata = json.loads(agent.seen.files["metadata.json"])
    assert given["--model-metadata-file"] == str(agent.seen.folder / "metadata.json")
    assert metadata["openai/wide"]["max_input_tokens"] == 65_536


def test_arguments_of_the_agent(agent: FakeAgent, server: ServerProcess) -> None:
    """They are left as they are, word for word."""
    arguments = ["exec", "--skip-git-repo-check", "--model", "theirs", '{key}, {folder}\'s "$HOME"']
    assert agent.launch("codex", *on(server), *arguments).returncode == 0
    assert agent.seen.name == "codex" and agent.seen.arguments == arguments


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        ("codex exec --model theirs --print -h", "exec --model theirs --print -h"),
        ("claude -p --model theirs hi", "-p --model theirs hi"),
        ("claude --output-format=json -- --print", "--output-format=json -- --print"),
        ("claude -- --print hi", "--print hi"),
        ("claude -- --help -- x", "--help -- x"),
        ("claude --model=ours -- --model=theirs", "--model=theirs"),
        ("--model ours claude -c", "-c"),
        ("--model ours claude --server http://x resume", "resume"),
        ("opencode", ""),
    ],
)
def test_where_the_agents_arguments_begin(words: str, passed: str, tmp_path: Path) -> None:
    """At the first word behind the name that is no option of ours."""
    context = launch.make_context("launch", words.split(), obj=tmp_path)  # the home
    assert context.params["arguments"] == tuple(passed.split())
    assert context.params["agent"] in NAMES and not context.params["is_print"]
    assert context.params["model"] == ("ours" if "ours" in words else None)


def test_the_default_model(agent: FakeAgent, server: ServerProcess) -> None:
    """It is the server's, where nobody names one."""
    assert agent.launch("claude", "--server", server.url).returncode == 0
    assert agent.seen.environment["ANTHROPIC_MODEL"] == "pocket"


def test_the_model_is_loaded_before(agent: FakeAgent, server: ServerProcess) -> None:
    """It is in memory when the agent starts, to stay no longer than any other."""
    agent.launch("claude", *on(server, "short"))
    (model,) = [
        model for model in server.get("/v1/models")["data"] if model["id"] == "short"
    ]  # fmt: skip
    assert model["state"] == "loaded" and not model["pinned"]


def test_a_short_context_is_told(
    agent: FakeAgent, server: ServerProcess, wide: ServerProcess
) -> None:
    """On stderr, and the agent starts all the same; a wide one is not worth a word."""
    short = agent.launch("claude", *on(server), "-p", "hi")
    assert short.returncode == 0 and agent.seen.arguments == ["-p", "hi"]
    assert "8,192" in short.stderr and "32,768" in short.stderr and not short.stdout
    long = agent.launch("claude", *on(wide, "wide"), "--api-key", "secret")
    assert long.returncode == 0 and not long.stderr and not long.stdout


@pytest.mark.parametrize(("does", "status"), [("7", 7), ("dies", 128 + 9)])
def test_the_exit_status_is_the_agents(
    agent: FakeAgent, server: ServerProcess, does: str, status: int
) -> None:
    """Also of one that is killed, as a shell tells it; the folder goes in any case."""
    assert agent.launch("codex", *on(server), FAKE_DOES=does).returncode == status
    assert not agent.left


def test_an_agent_that_is_not_installed(tmp_path: Path, server: ServerProcess) -> None:
    """The command that installs it, and the status of a command that is not found."""
    run = FakeAgent(tmp_path).launch("codex", *on(server))
    assert run.returncode == 127 and not run.stdout
    assert "npm install -g @openai/codex" in run.stderr and "Traceback" not in run.stderr


def test_an_agent_that_cannot_be_started(tmp_path: Path, server: ServerProcess) -> None:
    """An executable that is none: told in a line, and nothing is left."""
    agent = FakeAgent(tmp_path)
    agent.install("codex", "#!/no/such/interpreter\n")
    run = agent.launch("codex", *on(server, "short"))
    assert run.returncode == 1 and "could not be started" in run.stderr
    assert "Traceback" not in run.stderr and not agent.left


def test_what_the_server_says(agent: FakeAgent, server: ServerProcess, wide: ServerProcess) -> None:
    """No server, no such model, a wrong key, no agent, a model for vectors: each in its words."""

    def refused(*arguments: str) -> subprocess.CompletedProcess[str]:
        run = agent.launch(*arguments)
        assert run.returncode != 0 and not run.stdout and "Traceback" not in run.stderr
        assert not agent.left and not (agent.folder / "record").exists()
        return run

    assert "mlx-edge serve" in refused("codex", "--server", "http://127.0.0.1:9").stderr
    assert "'nobody' not found" in refused("codex", *on(server, "nobody")).stderr
    assert "Unauthorized" in refused("codex", *on(server), "--api-key", "wrong").stderr
    assert "'cursor' is not one of" in refused("cursor", *on(server)).stderr
    vectors = refused("codex", *on(wide, "vectors"), "--api-key", "secret")
    assert "vectors does not chat" in vectors.stderr


def test_proxies_are_passed_by(agent: FakeAgent, server: ServerProcess) -> None:
    """An agent behind a proxy asks this server directly, and all else as before."""
    proxies = {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "intranet"}
    assert agent.launch("claude", *on(server), **proxies).returncode == 0
    assert agent.seen.environment["NO_PROXY"] == "intranet,127.0.0.1"
    assert agent.seen.environment["HTTPS_PROXY"] == proxies["HTTPS_PROXY"]
    assert agent.launch("claude", *on(server)).returncode == 0
    assert "NO_PROXY" not in agent.seen.environment
