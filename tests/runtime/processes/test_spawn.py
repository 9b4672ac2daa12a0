"""Tests of runtime.processes.spawn: what every child is given, and what none is."""

import asyncio

import psutil
import pytest

from runtime.processes.child import Child
from runtime.processes.spawn import kill, spawn

SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MLX_EDGE_API_KEY")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("PLAIN", "inherited")


async def test_a_child_gets_no_secrets() -> None:
    """It reads files from anywhere: keys stay here, the rest is inherited or added to."""
    pipe = asyncio.subprocess.PIPE  # from which it would read
    process = await spawn("json.tool", environment={"MORE": "added"}, stdin=pipe)
    try:
        environment = psutil.Process(process.pid).environ()
    finally:
        await kill(process)
    assert "secret" not in environment.values()
    assert (environment["PLAIN"], environment["MORE"]) == ("inherited", "added")


async def test_a_child_with_a_socket_gets_none_either() -> None:
    """Engines and text workers are started the same way."""
    child = await Child.spawn("runtime.text")
    try:
        assert "secret" not in psutil.Process(child.pid).environ().values()
    finally:
        await child.kill()
