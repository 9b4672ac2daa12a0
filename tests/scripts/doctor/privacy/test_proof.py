"""Tests of the proof by trial: it fails where a child is open, and says where nothing is proven."""

import asyncio
import functools
import sys
from typing import Any

import pytest

from runtime.processes.sealed import NOT_SEALED
from runtime.processes.spawn import spawn
from scripts.doctor.privacy import findings
from scripts.doctor.privacy.proof import Attempt, Unproven, attempts


async def test_a_sealed_child_reaches_nobody() -> None:
    tried = await attempts()
    assert [one.way for one in tried] == ["TCP", "UDP", "a name"]
    assert not any(one.reached for one in tried), tried
    (finding,) = findings.proven(tried)
    assert finding.level == "ok" and "TCP, UDP and a name" in finding.sentence


async def test_an_open_child_is_found_out() -> None:
    """The control: with a network the same child arrives."""
    tried = await attempts(functools.partial(spawn, downloads=True))
    reached = {one.way for one in tried if one.reached}
    assert {"TCP", "UDP"} <= reached
    (finding,) = findings.proven(tried)
    assert finding.level == "problem" and "TCP" in finding.sentence and finding.remedy


async def running(code: str, *_: str, **pipes: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, **pipes)


async def test_a_child_that_lies_is_not_believed() -> None:
    """It says that nothing arrived; our own end knows better."""
    code = (
        "import json, socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "print(json.dumps({'TCP': 'Permission denied', 'UDP': 'Permission denied'}))"
    )

    async def start(_: str, *ports: str, **pipes: Any) -> asyncio.subprocess.Process:
        command = (sys.executable, "-c", code, *ports)
        return await asyncio.create_subprocess_exec(*command, **pipes)

    tried = {one.way: one.reached for one in await attempts(start)}
    assert tried == {"TCP": True, "UDP": False}


async def test_a_system_that_cannot_seal() -> None:
    """The child that refuses to begin is a problem like one that is open."""
    refused = functools.partial(running, f"raise SystemExit({NOT_SEALED})")
    assert [one.reached for one in await attempts(refused)] == [True]


@pytest.mark.parametrize("code", ["print('no')", "raise OSError('odd')", "print('{\"TCP\": 1}')"])
async def test_a_child_that_says_nothing_of_use_proves_nothing(code: str) -> None:
    with pytest.raises(Unproven):
        await attempts(functools.partial(running, code))


def test_one_way_in_words() -> None:
    (finding,) = findings.proven([Attempt("UDP", True, "")])
    assert "by UDP" in finding.sentence
