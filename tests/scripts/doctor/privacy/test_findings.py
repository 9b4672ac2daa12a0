"""Tests of what is thought of a record and of processes that are not as they should be."""

import time

from scripts.doctor.privacy import findings
from web.network.processes import Process
from web.network.told import Network


def test_a_record_that_is_none_is_no_clean_bill() -> None:
    (none,) = findings.reached(Network([]))
    assert none.level == "warning" and none.remedy
    beyond, clean = findings.reached(Network([], since=time.time(), num_unlisted=2))
    assert (beyond.level, clean.level) == ("warning", "ok") and "2 connections" in beyond.sentence


def test_only_what_downloads_may_be_open() -> None:
    """What nobody can tell is no problem, and not fine either."""
    tree = [
        Process(1, "server", None, False, needs_network=True),
        Process(2, "pip", None, False, needs_network=True),
        Process(4, "engine", "tiny", True, needs_network=False),
    ]
    (fine,) = findings.sealed(tree)
    assert fine.level == "ok"
    unknown = Process(5, "job", None, None, needs_network=False)
    stranger = Process(6, "unknown", None, False, needs_network=False)
    told = {one.level: one for one in findings.sealed([*tree, unknown, stranger])}
    assert set(told) == {"warning", "problem"} and all(one.remedy for one in told.values())
    assert "pid 5" in told["warning"].sentence and "pid 6" in told["problem"].sentence
