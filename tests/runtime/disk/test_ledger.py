"""Tests of what a day may write: its budget, and what a byte has to save."""

from pathlib import Path

from runtime.disk import ledger
from runtime.disk.ledger import Ledger

DAY = 86_400.0


def test_it_is_of_one_day(tmp_path: Path) -> None:
    path, noon = tmp_path / "ledger", 1_800_000_000.0
    today = ledger.read(path, lambda: noon)
    today.written_bytes = 7
    ledger.write(path, today)
    assert path.stat().st_mode & 0o777 == 0o600
    assert ledger.read(path, lambda: noon) == today
    for other in (noon + DAY, noon - DAY):
        assert ledger.read(path, lambda other=other: other).written_bytes == 0  # type: ignore[misc]


def test_a_damaged_one_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b'{"day": 3')
    assert ledger.read(path).written_bytes == 0


def test_what_saves_nothing_is_not_written() -> None:
    assert not Ledger().takes(10, 0.0, 1000)
    assert not Ledger().takes(10, -1.0, 1000)
    assert Ledger().takes(10, 0.001, 1000)


def test_a_budget_that_is_used_takes_only_what_saves_much() -> None:
    """Of 1000 bytes half are written, and saved a second a byte: less than half is refused."""
    used = Ledger("", written_bytes=500, offered_bytes=500, offered_s=500.0)
    assert not used.takes(100, 10.0, 1000)
    assert used.takes(100, 90.0, 1000)
    used.written_bytes = 950
    assert not used.takes(100, 1e9, 1000)
