"""Tests of mlx-edge rm where a server has the model in memory, by this command or another way."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.models.tiny_models import make_llama
from tests.scripts.test_cli import run
from tests.serving import KEY, ServerProcess, import_model, link_model
from tests.store_client import BASE

HEADERS = {"Authorization": f"Bearer {KEY}"}


async def asked(client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    """The events of a chat that takes longer than any of these tests."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 8000,
        "temperature": 0,
        "stream": True,
    }
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])


async def last_event(client: httpx.AsyncClient, has_begun: asyncio.Event) -> dict[str, Any]:
    last: dict[str, Any] = {}
    async for last in asked(client):
        if last.get("choices") and last["choices"][0]["delta"].get("content"):
            has_begun.set()
    return last


@pytest.mark.parametrize("way", ["rm", "rm linked", "delete"])
async def test_a_removed_model_leaves_the_memory(tmp_path: Path, way: str) -> None:
    """Its engine ends, and with it what runs and waits there, with an error that says why."""
    home, source = tmp_path / "home", make_llama(tmp_path / "source")
    (link_model if way == "rm linked" else import_model)(home, "tiny", source)
    with ServerProcess(home, "--max-rows", "1") as server:
        async with httpx.AsyncClient(
            base_url=server.url, headers=HEADERS, timeout=60, trust_env=False
        ) as client:
            has_begun = asyncio.Event()
            asking = [asyncio.create_task(last_event(client, has_begun)) for _ in range(4)]
            await has_begun.wait()
            engines = server.engines()
            if way == "delete":
                assert (await client.delete(f"{BASE}/models/tiny")).status_code == 200
            else:
                removed = await asyncio.to_thread(run, home, "rm", "tiny")
                assert removed.returncode == 0, removed.stderr
            events = await asyncio.gather(*asking)
            # Even the quickest machine has not answered all of them before.
            assert events[-1]["error"]["message"] == (
                "Model 'tiny' was removed from this machine meanwhile."
            )
            assert events[-1]["error"]["code"] == "model_removed"
            _, alive = psutil.wait_procs(engines, timeout=20)
            assert len(engines) == 1 and alive == []
            models = (await client.get("/v1/models")).json()["data"]
            assert [model["id"] for model in models] == ["pocket"]
            assert source.exists()


async def test_a_model_that_cannot_be_removed_stays_in_memory(tmp_path: Path) -> None:
    """The built-in one, say: the refusal costs nobody an answer."""
    with ServerProcess(tmp_path / "home") as server:
        async with httpx.AsyncClient(
            base_url=server.url, headers=HEADERS, timeout=60, trust_env=False
        ) as client:
            assert (await client.post("/v1/models", json={"model": "pocket"})).status_code == 200
            assert (await client.delete(f"{BASE}/models/pocket")).status_code == 400
            assert run(tmp_path / "home", "rm", "pocket").returncode == 1
            models = (await client.get("/v1/models")).json()["data"]
            assert [model["loaded"] for model in models] == [True]
