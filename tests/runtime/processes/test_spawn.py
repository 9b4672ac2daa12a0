"""Tests of runtime.processes.spawn: what every child is given, and what none is."""

import asyncio
import json

import pytest

from runtime.processes.child import Child
from runtime.processes.spawn import kill, spawn
from tests import processes

SECRETS = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MLX_EDGE_API_KEY", "MLX_EDGE_SERVE_API_KEY"
)  # fmt: skip
TELLING = "tests.runtime.processes.telling"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("PLAIN", "inherited")


async def test_a_child_gets_no_secrets() -> None:
    """It reads files from anywhere: keys stay here, the rest is inherited or added to."""
    pipe = asyncio.subprocess.PIPE
    process = await spawn(TELLING, environment={"MORE": "added"}, stdout=pipe)
    try:
        assert process.stdout is not None
        environment = json.loads(await process.stdout.read())
    finally:
        await kill(process)
    assert "secret" not in environment.values()
    assert (environment["PLAIN"], environment["MORE"]) == ("inherited", "added")


async def test_a_child_with_a_socket_gets_none_either() -> None:
    """Engines and text workers are started this way."""
    child = await Child.spawn(TELLING)
    try:
        told = await child.receive()
    finally:
        await child.kill()
    assert told is not None
    environment = json.loads(told)
    assert "secret" not in environment.values() and environment["PLAIN"] == "inherited"


async def test_a_call_that_is_cancelled_twice_leaves_no_process() -> None:
    """Whoever waits for the start may be cancelled again while the half started child is ended."""
    for turns in range(6):
        start = asyncio.create_task(spawn("timeit", "-n1", "import time; time.sleep(999)"))
        await asyncio.sleep(0)
        for _ in range(3):
            start.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await start
        assert not processes.children("time.sleep(999)")
