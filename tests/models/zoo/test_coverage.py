"""The zoo has every architecture of the mlx-lm that is installed: a new one shows here first."""

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from mlx_lm.utils import _get_classes

from tests.models.zoo import faults
from tests.models.zoo.checkpoints import CONFIGS, MISSING, make


def architectures() -> set[str]:
    """The modules that mlx-lm may load a checkpoint with; found without importing them."""
    spec = find_spec("mlx_lm.models")
    assert spec is not None and spec.submodule_search_locations
    (folder,) = map(Path, spec.submodule_search_locations)
    return {path.stem for path in folder.glob("*.py") if {"Model", "ModelArgs"} <= _names(path)}


def _names(path: Path) -> set[str]:
    """What a module defines or imports on its own level."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_every_architecture_of_mlx_lm_is_in_the_zoo() -> None:
    """Or it is named as missing, with the reason."""
    classes = [kind for config in CONFIGS.values() for kind in _get_classes(config)]
    covered = {kind.__module__.removeprefix("mlx_lm.models.") for kind in classes}
    assert architectures() - covered == set(MISSING)
    assert len(CONFIGS) >= 140


def test_known_faults_are_of_checkpoints_in_the_zoo() -> None:
    """A name that is gone or misspelt would excuse nothing, unseen."""
    assert faults.names() <= set(CONFIGS)


@pytest.mark.parametrize("name", ["llama", "qwen3_vl"])
def test_a_checkpoint_is_the_same_at_every_call(tmp_path: Path, name: str) -> None:
    """What fails once fails again."""
    first, second = make(name, tmp_path / "first"), make(name, tmp_path / "second")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    assert json.loads((first / "config.json").read_bytes()) == CONFIGS[name]
