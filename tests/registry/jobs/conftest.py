"""What the tests of jobs start from: an empty store, and work that takes no time."""

from pathlib import Path

import pytest

from registry.jobs import provision
from registry.store.store import Store
from tests.fake_work import FakeWork


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> FakeWork:
    """In the place of the job process."""
    work = FakeWork()
    monkeypatch.setattr(provision, "run_work", work)
    return work
