"""aider: arguments, which beat its configuration files, and the key in a variable.

What it keeps of a session, it keeps in the project as always (.aider*), and that it was started,
in ~/.aider: it knows no other place for these. Preferences in .aider.conf.yml hold.
"""

import json

from .agent import FOLDER, KEY, SILENCE_MS, Agent, Profile, Target


def _profile(target: Target) -> Profile:
    model = f"openai/{target.model}"
    base = f"{target.url}/v1"
    metadata = {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_tokens": target.output,
        "max_input_tokens": target.context,
        "max_output_tokens": target.output,
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
    }
    return Profile(
        environment={
            "OPENAI_API_BASE": base,
            "OPENAI_API_KEY": KEY,
            "AIDER_OPENAI_API_KEY": KEY,  # a project's .env may have the other
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched at every start
        },
        unset=("OPENAI_API_TYPE", "OPENAI_API_VERSION", "OPENAI_ORGANIZATION"),
        files={"metadata.json": json.dumps({model: metadata}, indent=2) + "\n"},
        arguments=(
            *("--model", model),
            *("--weak-model", model),
            *("--editor-model", model),
            *("--openai-api-base", base),
            *("--model-metadata-file", f"{FOLDER}/metadata.json"),
            *("--timeout", str(SILENCE_MS // 1000)),
            "--no-show-model-warnings",
            "--no-analytics",
            "--no-check-update",
            "--no-show-release-notes",
        ),
    )


AIDER = Agent(
    "aider",
    "aider",
    ("python -m pip install aider-install && aider-install", "brew install aider"),
    _profile,
)
