"""Claude Code: variables, and a configuration folder of its own.

Its settings may set variables, and would beat these: so the user's settings.json, CLAUDE.md,
sessions and sign-in are not seen; the project's are.
"""

import json

from .agent import FOLDER, KEY, SILENCE_MS, Agent, Profile, Target

# It summarises a conversation 13,000 tokens before the place for the answer, of which it reserves
# up to 20,000; so in 2.1. Its instructions and tools alone are some 20,000. Where the rest of the
# context is less than this, it would summarise at every turn, and give up at the third.
_SUMMARY_AHEAD = 13_000
_RESERVED = 20_000
_LEAST_CONVERSATION = 32_000

_ELSEWHERE = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BETAS",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "CLAUDE_CODE_EXTRA_BODY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_GATEWAY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_VERTEX",
)
# The second is for titles and summaries, the others are what its subagents ask for.
_MODELS = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_DEFAULT_FABLE_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)


def _profile(target: Target) -> Profile:
    home = "claude"
    output = min(target.output, target.context // 8)  # it reserves more than that
    environment = {
        "CLAUDE_CONFIG_DIR": f"{FOLDER}/{home}",
        "ANTHROPIC_BASE_URL": target.url,
        "ANTHROPIC_AUTH_TOKEN": KEY,
        **dict.fromkeys(_MODELS, target.model),
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(target.context),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(output),
        "API_TIMEOUT_MS": str(SILENCE_MS),
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(SILENCE_MS),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",  # a line that changes, before the system prompt
        "DISABLE_AUTOUPDATER": "1",
    }
    conversation = target.context - min(output, _RESERVED) - _SUMMARY_AHEAD
    if conversation < _LEAST_CONVERSATION:
        environment["DISABLE_AUTO_COMPACT"] = "1"
    files = {
        f"{home}/.claude.json": _json({"hasCompletedOnboarding": True}),
        f"{home}/settings.json": _json(_SETTINGS),
    }
    return Profile(environment, _ELSEWHERE, files)


_SETTINGS = {
    "disableDeepLinkRegistration": "disable",  # would be written where applications are
    "permissions": {"deny": ["WebSearch"]},  # searches on Anthropic's servers
    "skipWebFetchPreflight": True,  # tells Anthropic which host is read
}


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


CLAUDE = Agent(
    "claude",
    "Claude Code",
    ("npm install -g @anthropic-ai/claude-code", "brew install --cask claude-code"),
    _profile,
)
