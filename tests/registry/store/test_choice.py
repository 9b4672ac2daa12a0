"""Tests of the file that holds which model a person chose."""

from pathlib import Path

import pytest

from registry.errors import InvalidModelId
from registry.store import choice


def test_what_was_chosen_is_read_again(tmp_path: Path) -> None:
    """In a home that is made for it, and the last choice counts."""
    home = tmp_path / "new" / "home"
    assert choice.chosen(home) is None
    for model_id in ("pocket", "smollm2-135m"):
        choice.choose(home, model_id)
        assert choice.chosen(home) == model_id
    assert [path.name for path in home.iterdir()] == ["default"]


@pytest.mark.parametrize("content", [b"", b"\n", b"../../etc", b"two words", b"\xff\xfe", b"a\nb"])
def test_a_file_that_names_no_model_is_no_choice(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "default").write_bytes(content)
    assert choice.chosen(tmp_path) is None


def test_what_is_no_id_cannot_be_chosen(tmp_path: Path) -> None:
    choice.choose(tmp_path, "pocket")
    with pytest.raises(InvalidModelId):
        choice.choose(tmp_path, "../pocket")
    assert choice.chosen(tmp_path) == "pocket"
