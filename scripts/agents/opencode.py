"""opencode: its configuration in a variable, and folders of its own for what it writes.

It has no variable for its folders but XDG's, which all that it runs would follow: git would miss
the user's identity, gh the sign-in. So a plugin hands the user's own to the commands it runs.
"""

import json

from .agent import FOLDER, KEY, KEY_VARIABLE, SILENCE_MS, Agent, Profile, Target

_FOLDERS = {
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "XDG_STATE_HOME": "state",
    "XDG_CACHE_HOME": "cache",
}
_PROVIDER = "mlx-edge"
_INSTALLED = {"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}


def _profile(target: Target) -> Profile:
    return Profile(
        environment={
            **{name: f"{FOLDER}/{folder}" for name, folder in _FOLDERS.items()},
            "OPENCODE_CONFIG_CONTENT": json.dumps(_config(target)),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",  # the setting alone still asks npm
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            KEY_VARIABLE: KEY,
        },
        unset=("OPENCODE_AUTH_CONTENT", "OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR", "OPENCODE_DB"),
        files={
            "config/opencode/plugin/folders.js": _plugin(target),
            # It installs the types of plugins at each start, unless these two say that it has.
            "config/opencode/node_modules/.keep": "",
            "config/opencode/package-lock.json": json.dumps(_INSTALLED) + "\n",
        },
    )


def _config(target: Target) -> dict[str, object]:
    limit = {"context": target.context, "output": target.output}
    options = {
        "baseURL": f"{target.url}/v1",
        "apiKey": f"{{env:{KEY_VARIABLE}}}",
        "timeout": False,
        "headerTimeout": SILENCE_MS,
        "chunkTimeout": SILENCE_MS,
    }
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": _PROVIDER,
        "options": options,
        "models": {target.model: {"name": target.model, "limit": limit}},
    }
    model = f"{_PROVIDER}/{target.model}"
    return {
        "$schema": "https://opencode.ai/config.json",
        "provider": {_PROVIDER: provider},
        "enabled_providers": [_PROVIDER],  # no other, whatever keys there are
        "model": model,
        "small_model": model,
        "autoupdate": False,
        "share": "disabled",
    }


def _plugin(target: Target) -> str:
    """Sets the user's own folders for every command, or none where the user has set none."""
    users = {name: target.environment.get(name) for name in _FOLDERS}
    values = ", ".join(
        f"{name}: {'undefined' if value is None else json.dumps(value)}"
        for name, value in users.items()
    )
    return f"""\
export const Folders = async () => ({{
  "shell.env": async (_, output) => {{ Object.assign(output.env, {{ {values} }}) }},
}})
"""


OPENCODE = Agent(
    "opencode",
    "opencode",
    ("npm install -g opencode-ai", "brew install anomalyco/tap/opencode"),
    _profile,
)
