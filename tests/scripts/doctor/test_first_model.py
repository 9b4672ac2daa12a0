"""Tests of the model that a first start names."""

import pytest

from scripts.doctor.first_model import first_model

GB = 1 << 30


@pytest.mark.parametrize(
    ("limit_gb", "name"),
    [(5.1, "qwen3-4b"), (10.1, "qwen3-8b"), (100, "qwen3-8b"), (1, "smollm2-360m")],
)
def test_it_fits_with_room_for_conversations(limit_gb: float, name: str) -> None:
    """What models get of a Mac of 8 GB, of 16 GB and of a large one; and of next to nothing."""
    first = first_model(int(limit_gb * GB))
    assert first is not None and first.name == name and first.kind == "llm"


def test_where_none_fits() -> None:
    assert first_model(100 << 20) is None
