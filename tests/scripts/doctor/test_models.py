"""Tests of what doctor says of models that could not be loaded."""

import shutil
from pathlib import Path

import pytest

from registry.store.record import Description
from registry.store.store import Store
from scripts.doctor import models
from scripts.doctor.finding import Finding
from tests.models.tiny_models import make_llama
from tests.serving import import_model, link_model


def of(home: Path, *, is_deep: bool = False) -> list[Finding]:
    return [*models.findings(Store(home), is_deep=is_deep)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    link_model(tmp_path / "home", "tiny", make_llama(tmp_path / "tiny"))
    return tmp_path / "home"


def test_whole_models_are_fine(home: Path, tmp_path: Path) -> None:
    (told,) = of(home)
    assert told.level == "ok" and told.sentence.startswith("1 beside")
    (none,) = of(tmp_path / "empty")
    assert none.level == "ok"


def test_a_model_whose_header_is_torn(home: Path, tmp_path: Path) -> None:
    """By a look at the header alone: the size is as it was."""
    weights = tmp_path / "tiny" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[8:24] = b"x" * 16
    weights.write_bytes(content)
    (told,) = of(home)
    assert told.level == "problem" and "tiny: model.safetensors is broken" in told.sentence
    assert f"mlx-edge import {tmp_path / 'tiny'} " in str(told.remedy)


def test_a_model_whose_files_are_gone(home: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny" / "model.safetensors").unlink()
    (missing,) = of(home)
    assert missing.level == "problem" and "missing" in missing.sentence
    shutil.rmtree(tmp_path / "tiny")
    (gone,) = of(home)
    assert gone.level == "problem" and "its folder is gone" in gone.sentence
    assert "mlx-edge rm tiny" in str(gone.remedy)


def test_a_record_that_tells_of_a_failure_or_nothing(home: Path) -> None:
    """What verification found; what was only registered; what cannot be read."""
    store = Store(home)
    store.note_broken("tiny", "a tensor is missing")
    store.create("empty", Description(kind="llm"))
    (home / "models" / "torn").mkdir()
    (home / "models" / "torn" / "model.json").write_text("{")
    told = {finding.sentence: finding for finding in of(home)}
    levels = {sentence.split(":")[0]: one.level for sentence, one in told.items()}
    assert levels["tiny"] == "problem" and any("a tensor is missing" in one for one in told)
    assert levels["empty is registered, and its files never came"] == "note"
    assert any(one.level == "problem" and "torn" in sentence for sentence, one in told.items())
    assert all(one.remedy for one in told.values())


@pytest.mark.slow
def test_a_deep_look_reads_every_byte(tmp_path: Path) -> None:
    """What no header tells: a weight that is another than it was."""
    home = tmp_path / "home"
    import_model(home, "tiny", make_llama(tmp_path / "source"))
    assert [one.level for one in of(home, is_deep=True)] == ["ok"]
    weights = Store(home).get("tiny").folder / "model.safetensors"
    weights.chmod(0o600)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert [one.level for one in of(home)] == ["ok"]
    (told,) = of(home, is_deep=True)
    assert told.level == "problem" and "tiny" in told.sentence
