"""Tests of runtime.processes.lean: mlx-lm works without transformers, all of it that is used."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.tiny_models import make_llama

_CHILD = """
import importlib, pkgutil, sys
from pathlib import Path
from runtime.processes.lean import leave_out_transformers
leave_out_transformers()
import mlx_lm.models
from registry.checkpoint.architectures import missing_packages
from registry.checkpoint.defaults import context_length_of
from runtime.engine.loader import load
load(Path(sys.argv[1]), lambda done, total: None)
assert context_length_of("gemma3_text")
for module in pkgutil.iter_modules(mlx_lm.models.__path__):
    if not missing_packages(module.name):
        importlib.import_module(f"mlx_lm.models.{module.name}")
print(*(name for name in sys.modules if name.startswith("transformers")))
"""


@pytest.mark.slow
def test_every_architecture_does_without_transformers(tmp_path: Path) -> None:
    """A release of mlx-lm that asks more of it shows here."""
    command = [sys.executable, "-W", "error", "-c", _CHILD, str(make_llama(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (
        "transformers transformers.tokenization_utils_base\n",
        "",
    )
