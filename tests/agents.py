"""Real coding agents out of the npm registry: installed at once, and kept in the user's cache.

They take a gigabyte, so they are asked for: MLX_EDGE_AGENTS=1. Where they cannot be fetched, a
test is skipped and says why.
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests import packages
from tests.models.tiny_models import make_llama
from tests.serving import ROOT, link_model

CONTEXT = 65_536
_PACKAGES = ("@anthropic-ai/claude-code@2.1.197", "@openai/codex@0.171.0", "opencode-ai@1.18.33")

asked_for = pytest.mark.skipif(
    os.environ.get("MLX_EDGE_AGENTS") != "1", reason="agents are asked for: MLX_EDGE_AGENTS=1"
)


@cache
def installed(name: str) -> Path:
    """The executable; its folder has the others, too."""
    program = packages.installed(*_PACKAGES) / ".bin" / name
    try:
        subprocess.run([program, "--version"], check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:  # npm may leave out what is to be run
        pytest.skip(f"{name} is not installed well: {error}")
    return program


def link_terse_model(home: Path, model_id: str, folder: Path) -> None:
    """Random, for prompts of any agent; an eighth of its tokens are ends, so answers are short."""
    shape = {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    make_llama(folder, max_position_embeddings=CONTEXT, vocab_size=2048, **shape)
    for name in ("tokenizer.json", "tokenizer_config.json"):  # whose words are longer
        shutil.copy(ROOT / "registry" / "pocket" / name, folder)
    ends = {"eos_token_id": list(range(3, 2048, 8))}
    (folder / "generation_config.json").write_text(json.dumps(ends))
    link_model(home, model_id, folder, CONTEXT)
