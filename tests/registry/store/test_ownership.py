"""Tests of registry.store.ownership: one holder at a time, and a lock file that comes and goes."""

import os
import threading
from pathlib import Path

import pytest

from registry.errors import ModelBusy
from registry.store.ownership import Ownership


def test_the_folder_goes_when_nothing_is_in_it(tmp_path: Path) -> None:
    """What was acquired survives a release, and a discard only if it is to be kept."""
    folder = tmp_path / "partial" / "tiny"
    with Ownership(folder, "pull") as owned:
        (folder / "hub-0").mkdir()
        (folder / "hub-1").mkdir()
        (folder / "file").write_text("x")
        owned.discard(keep="hub-1")
    assert sorted(os.listdir(folder)) == ["hub-1", "lock"]
    with Ownership(folder, "pull") as owned:
        owned.discard()
    owned.release()
    assert not folder.exists()


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    """What it leads to is somebody else's."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    with Ownership(tmp_path / "tiny", "pull") as owned:
        (owned.folder / "link").symlink_to(outside)
        owned.discard()
    assert (outside / "file").read_text() == "x"


def test_there_is_never_a_second_holder(tmp_path: Path) -> None:
    """Not even while the lock file is deleted by one and opened by others at the same time."""
    held: list[int] = []
    num_holds = [0] * 4
    faults: list[list[int]] = []

    def hold_often(number: int) -> None:
        for _ in range(500):
            try:
                with Ownership(tmp_path / "tiny", f"job{number}"):
                    held.append(number)
                    if len(held) != 1:
                        faults.append(list(held))
                    num_holds[number] += 1
                    held.remove(number)
            except ModelBusy as busy:
                assert "at work on 'tiny'" in str(busy)

    threads = [threading.Thread(target=hold_often, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == [] and sum(num_holds) > 0
    assert not (tmp_path / "tiny").exists()
    with Ownership(tmp_path / "tiny", "pull"), pytest.raises(ModelBusy, match="pull"):
        Ownership(tmp_path / "tiny", "convert")
