"""Tests of registry.hub.catalog: every entry can be pulled under its name."""

import re

import pytest

from registry.hub import repository
from registry.hub.catalog import CATALOG, CatalogEntry, find


@pytest.mark.parametrize("entry", CATALOG.values(), ids=CATALOG.keys())
def test_entries_are_sound(entry: CatalogEntry) -> None:
    """The name is a model's id and its own key; the rest is what a pull takes."""
    assert find(entry.name) is entry and entry.name == entry.name.casefold()
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", entry.name)
    assert re.fullmatch(repository._REPO_ID, entry.repo_id) and "/" in entry.repo_id
    assert entry.kind in ("llm", "embed")
    assert entry.bits in (None, 4, 8)
    assert entry.revision is None or repository._COMMIT.fullmatch(entry.revision)
    assert 50e6 < entry.size_bytes < 10e9
    assert entry.description


def test_the_documentations_own_models_are_there() -> None:
    for name, kind in (("smollm2-360m", "llm"), ("nomic-embed-text", "embed")):
        entry = find(name)
        assert entry is not None and entry.kind == kind


def test_names_are_found_in_any_case() -> None:
    assert find(" SmolLM2-360M ") is CATALOG["smollm2-360m"]
    assert find("smollm2") is None
    assert find("") is None
