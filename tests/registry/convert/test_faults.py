"""Tests of convert.faults: whatever a loader raises is a refusal, of one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import mlx_lm.models
import pytest

from registry.checkpoint import architectures
from registry.checkpoint.verify import verify
from registry.convert.faults import refused
from registry.convert.trial import try_out
from registry.errors import NotAModel
from tests.models.tiny_models import make_llama

Architecture = Callable[[str], None]


@pytest.fixture
def architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """A function that adds a module `exits` to mlx-lm, with this source."""
    folder = tmp_path / "added"
    folder.mkdir()

    def add(source: str) -> None:
        (folder / "exits.py").write_text(f"{source}\nclass Model: ...\nclass ModelArgs: ...\n")
        monkeypatch.setattr(mlx_lm.models, "__path__", [*mlx_lm.models.__path__, str(folder)])
        known = architectures.source
        text = (folder / "exits.py").read_text()
        for place in ("registry.checkpoint.architectures", "registry.checkpoint.support"):
            monkeypatch.setattr(f"{place}.source", lambda n: text if n == "exits" else known(n))

    return add


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("print('pip install it')\nexit(1)", "SystemExit: 1"),
        ("import sys\nsys.exit('first install\\nit')", "SystemExit: first install it"),
        ("raise ImportError('no such thing')", "exits.* not supported"),
        ("raise OverflowError('too many')", "OverflowError: too many"),
        ("class Panic(BaseException): ...\nraise Panic('at line 3')", "Panic: at line 3"),
    ],
)
def test_a_module_that_ends_the_process_is_a_refusal(
    tmp_path: Path, architecture: Architecture, source: str, said: str
) -> None:
    """As mlx_lm.models.olmo does where a package is missing."""
    folder = make_llama(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "exits"}))
    architecture(source)
    with pytest.raises(NotAModel, match=f"^the model cannot be loaded: .*{said}") as refusal:
        try_out(folder, verify(folder))
    assert "\n" not in str(refusal.value)


def test_an_interrupt_is_no_fault_of_the_files() -> None:
    """Nor is a full disk; and a refusal stays as it was worded."""
    for error in (KeyboardInterrupt(), OSError(28, "full"), MemoryError(), NotAModel("Too old.")):
        with pytest.raises(type(error)) as caught, refused("the model"):
            raise error
        assert caught.value is error
