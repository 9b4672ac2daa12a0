"""Streams from any OpenAI server, timed token by token."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server as a client sees it; `url` ends before `/chat/completions`."""

    url: str
    model: str
    key: str = "none"


@dataclass(slots=True)
class Timeline:
    """One answer: when it was asked for, and when each piece of text came. Seconds."""

    asked_at: float
    arrivals: list[float] = field(default_factory=list)
    num_tokens: int = 0
    num_prompt: int = 0
    num_cached: int = 0  # of the prompt's
    text: str = ""

    @property
    def first_token_s(self) -> float:
        return self.arrivals[0] - self.asked_at

    @property
    def gaps_s(self) -> list[float]:
        return [b - a for a, b in zip(self.arrivals, self.arrivals[1:], strict=False)]


def connect(endpoint: Endpoint) -> httpx.AsyncClient:
    """A client with the key, and no limit of connections."""
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    return httpx.AsyncClient(headers=headers, timeout=600, limits=httpx.Limits())


async def stream(
    client: httpx.AsyncClient,
    endpoint: Endpoint,
    prompt: str | Sequence[Mapping[str, str]],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    priority: str | None = None,
    parameters: Mapping[str, Any] = {},
    on_token: Callable[[], None] = lambda: None,
) -> Timeline:
    """One streamed chat answer, to a text or to a conversation, with `parameters` on top of the
    others.

    Raises httpx.HTTPError, or RuntimeError with the server's words.
    """
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if priority is not None:  # ours alone knows it
        body["priority"] = priority
    body |= parameters
    timeline = Timeline(time.perf_counter())
    async with _answer(client, f"{endpoint.url}/chat/completions", body) as response:
        if response.status_code != 200:
            raise RuntimeError(f"{endpoint.url} answered {(await response.aread()).decode()[:300]}")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk: dict[str, Any] = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(f"{endpoint.url} broke off: {chunk['error']}")
            for choice in chunk["choices"]:
                if said := choice["delta"].get("content") or choice["delta"].get("reasoning"):
                    timeline.arrivals.append(time.perf_counter())
                    timeline.text += said
                    on_token()
            if usage := chunk.get("usage"):
                timeline.num_tokens = usage["completion_tokens"]
                timeline.num_prompt = usage.get("prompt_tokens", 0)
                details = usage.get("prompt_tokens_details") or {}
                timeline.num_cached = details.get("cached_tokens", 0)
    timeline.num_tokens = timeline.num_tokens or len(timeline.arrivals)
    return timeline


@asynccontextmanager
async def _answer(
    client: httpx.AsyncClient, url: str, body: dict[str, Any]
) -> AsyncIterator[httpx.Response]:
    """The response, before its body is read. A connection that is reset is tried again.

    mlx_lm.server resets those beyond its backlog of five; what that costs is part of its time.
    """
    request = client.build_request("POST", url, json=body)
    for attempt in range(_ATTEMPTS):
        try:
            response = await client.send(request, stream=True)
            break
        except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.01)
    try:
        yield response
    finally:
        await response.aclose()


@dataclass(frozen=True, slots=True)
class Throughput:
    """What some streams at once came to. Times in seconds."""

    tokens_per_s: float
    first_token_s: tuple[float, float]  # p50 and p99, over the streams
    gap_s: tuple[float, float]  # p50 and p99, between tokens


async def together(
    endpoint: Endpoint, prompts: Sequence[str], **parameters: float | int
) -> Throughput:
    """One stream for each prompt, all at once."""
    async with connect(endpoint) as client:
        started = time.perf_counter()
        timelines = await asyncio.gather(
            *(stream(client, endpoint, prompt, **parameters) for prompt in prompts)  # type: ignore[arg-type]
        )
        seconds = time.perf_counter() - started
    return Throughput(
        sum(timeline.num_tokens for timeline in timelines) / seconds,
        percentiles([timeline.first_token_s for timeline in timelines if timeline.arrivals]),
        percentiles([gap for timeline in timelines for gap in timeline.gaps_s]),
    )


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th; zeros for none."""
    if not values:
        return 0.0, 0.0
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
