"""Tests of the agents' profiles: plain values, made of what an agent is pointed at."""

import json
import tomllib

import pytest

from scripts.agents.agent import FOLDER, KEY, LEAST_CONTEXT, Profile, Target
from scripts.agents.claude import CLAUDE
from scripts.agents.codex import CODEX
from scripts.agents.opencode import OPENCODE
from scripts.launch import AGENTS

URL = "http://127.0.0.1:8083"


def profile(name: str, context: int = 131_072) -> Profile:
    return AGENTS[name].profile(Target(URL, "qwen3-4b", context))


@pytest.mark.parametrize("name", AGENTS)
def test_the_key_is_in_variables_only(name: str) -> None:
    """Everybody on the machine can read arguments, and files may be left by a crash."""
    made = profile(name)
    assert KEY in made.environment.values()
    assert not any(KEY in text for text in (*made.arguments, *made.files, *made.files.values()))


@pytest.mark.parametrize("name", AGENTS)
def test_files_know_no_folder(name: str) -> None:
    """So they can be shown as they are; variables and arguments say where they lie."""
    made = profile(name)
    assert not any(FOLDER in content for content in made.files.values())
    assert all(content.endswith("\n") for content in made.files.values() if content)
    assert any(FOLDER in text for text in (*made.arguments, *made.environment.values()))


@pytest.mark.parametrize("name", AGENTS)
def test_every_model_is_this_one(name: str) -> None:
    """The one for titles and summaries too; nothing is asked of another server."""
    told = json.dumps([profile(name).environment, profile(name).arguments, profile(name).files])
    assert "qwen3-4b" in told
    assert not any(other in told for other in ("gpt-", "haiku-", "sonnet-", "api.openai.com"))


@pytest.mark.parametrize("context", [LEAST_CONTEXT, 40_960, 131_072, 1_048_576])
def test_answers_leave_room_for_the_conversation(context: int) -> None:
    """A quarter of the context at most, and no more than agents ask for by themselves."""
    target = Target(URL, "m", context)
    assert 0 < target.output <= min(context // 4, 32_000)


def test_codex_summarises_before_there_is_no_room() -> None:
    """Its configuration is TOML that says so; a name with quotes is one, too."""
    made = CODEX.profile(Target(URL, 'a "b" \\ é', 40_960))
    config = tomllib.loads(made.files["codex/config.toml"])
    assert config["model"] == 'a "b" \\ é'
    assert config["model_auto_compact_token_limit"] == 30_720
    assert config["features"]["daemon_auto_start"] is False


@pytest.mark.parametrize(("context", "is_off"), [(32_768, True), (65_536, False), (131_072, False)])
def test_claude_summarises_only_where_there_is_something(context: int, is_off: bool) -> None:
    """Where its own prompt fills what it keeps free, it would do nothing else."""
    environment = CLAUDE.profile(Target(URL, "m", context)).environment
    assert ("DISABLE_AUTO_COMPACT" in environment) is is_off
    assert int(environment["CLAUDE_CODE_MAX_OUTPUT_TOKENS"]) <= context // 8


def test_opencode_hands_on_the_users_folders() -> None:
    """What the agent runs is to find what it finds without it: those set, and none unset."""
    user = {"XDG_CONFIG_HOME": '/a "b"', "HOME": "/home/u"}
    made = OPENCODE.profile(Target(URL, "m", 65_536, user))
    plugin = made.files["config/opencode/plugin/folders.js"]
    assert 'XDG_CONFIG_HOME: "/a \\"b\\""' in plugin and "XDG_DATA_HOME: undefined" in plugin
