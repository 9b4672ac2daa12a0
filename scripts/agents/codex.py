"""Codex: a home of its own, with one provider that speaks Responses.

`-c key=value` would be lighter, and leave sessions, trust and databases in ~/.codex. It would also
read the user's config.toml, whose MCP servers and hooks cost a local model much of its context.
So the user's global AGENTS.md, MCP servers and sign-in are not seen; the project's AGENTS.md is.
"""

import json

from .agent import FOLDER, KEY, KEY_VARIABLE, SILENCE_MS, Agent, Profile, Target


def _profile(target: Target) -> Profile:
    home = "codex"
    return Profile(
        environment={"CODEX_HOME": f"{FOLDER}/{home}", KEY_VARIABLE: KEY},
        # Another key, and another place for its databases.
        unset=("CODEX_API_KEY", "CODEX_SQLITE_HOME"),
        files={f"{home}/config.toml": _config(target)},
    )


def _config(target: Target) -> str:
    # Codex names no limit to an answer: it summarises early enough that there is room for one.
    # Tools for subagents and for other sessions (codex_tui) double what it sends at first.
    return f"""\
model = {_text(target.model)}
model_provider = "mlx-edge"
model_context_window = {target.context}
model_auto_compact_token_limit = {target.context - target.output}
model_reasoning_summary = "none"  # thoughts come as they are
show_raw_agent_reasoning = true
web_search = "disabled"
check_for_update_on_startup = false

[model_providers.mlx-edge]
name = "mlx-edge"
base_url = {_text(f"{target.url}/v1")}
wire_api = "responses"
env_key = "{KEY_VARIABLE}"
stream_idle_timeout_ms = {SILENCE_MS}
request_max_retries = 2
stream_max_retries = 2  # of five: what fails here fails again

[analytics]
enabled = false

[feedback]
enabled = false

[agents]
enabled = false

[features]
apps = false  # of an account
daemon_auto_start = false  # it would outlive the session, and this folder
image_generation = false
plugins = false
view_image = false

[mcp_servers.codex_tui]
command = "true"
enabled = false
"""


def _text(value: str) -> str:
    """A basic string of TOML, which is one of JSON."""
    return json.dumps(value, ensure_ascii=False)


CODEX = Agent(
    "codex", "Codex", ("npm install -g @openai/codex", "brew install --cask codex"), _profile
)
