"""Answers whose engines die, from outside: whole, over SSE, over the socket, in both dialects."""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from runtime.requests import ChatInput
from tests.runtime.deaths import POISON, Death, Plan
from tests.runtime.known import Answer, Known, make_known
from tests.serving import KEY, ROOT, ServerProcess, link_model
from tests.sockets import opened

HEADERS = {"Authorization": f"Bearer {KEY}"}
MIMOE = "/mimik-ai/openai/v1"

DEATHS = {
    "prefill": [Death("prefill", 1)],
    "between steps, and twice": [Death("step", 30), Death("load", 1), Death("hand", 40)],
    "the last step": [Death("last")],
}


@dataclass(frozen=True)
class Mortal:
    """A server whose engines die as planned, and what it shall answer all the same."""

    server: ServerProcess
    known: Known

    @property
    def answers(self) -> list[Answer]:
        """A greedy one and a seeded one."""
        plain = [answer for answer in self.known.answers if answer.is_plain]
        return [next(a for a in plain if a.sampling.temperature == warm) for warm in (0, 1)]

    def plan(self, deaths: list[Death], num_rows: int) -> None:
        """For the engines that are started from now on."""
        httpx.delete(f"{self.server.url}/v1/models/tiny", headers=HEADERS, timeout=60)
        Plan(deaths, num_rows).write(self.known.model.folder)

    def check(self, deaths: list[Death]) -> None:
        """That they came, and left nothing behind."""
        died = Plan.read(self.known.model.folder).died
        assert died == [death.place for death in deaths]
        self.server.wait_until_empty()
        assert len(self.server.engines()) == 1


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    folder = tmp_path_factory.mktemp("mortal")
    known = make_known(folder / "tiny")
    config = known.model.folder / "generation_config.json"
    config.write_text('{"top_p": 1.0}')  # where nobody says anything a server cuts the tail
    link_model(folder / "home", "tiny", known.model.folder)
    with ServerProcess(folder / "home", module="tests.mortal_cli") as server:
        yield Mortal(server, known)


def body(answer: Answer, **more: Any) -> dict[str, Any]:
    asked = answer.request.sampling
    assert isinstance(answer.request.input, ChatInput)
    content = answer.request.input.messages[0].content
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": content}],
        "temperature": asked.temperature,
        "seed": asked.seed,
        "max_tokens": asked.max_tokens,
    } | more


def client(mortal: Mortal, base: str = "/v1") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=mortal.server.url + base, api_key=KEY, max_retries=0)


@pytest.fixture(params=DEATHS)
def deaths(request: pytest.FixtureRequest, mortal: Mortal) -> list[Death]:
    planned = DEATHS[request.param]
    mortal.plan(planned, num_rows=2)
    return planned


@pytest.mark.parametrize("base", ["/v1", MIMOE])
async def test_whole(mortal: Mortal, deaths: list[Death], base: str) -> None:
    """Nothing shows that an engine died, but the time that it took."""
    async with client(mortal, base) as sdk:
        asking = (sdk.chat.completions.create(**body(answer)) for answer in mortal.answers)
        told = await asyncio.gather(*asking)
    for answer, completion in zip(mortal.answers, told, strict=True):
        assert completion.choices[0].message.content == answer.text
        assert completion.usage.completion_tokens == len(answer.tokens)
    mortal.check(deaths)


async def test_over_sse(mortal: Mortal, deaths: list[Death]) -> None:
    """The official SDK reads on; its stream has a comment where the engine died, and no more."""

    async def ask(sdk: AsyncOpenAI, answer: Answer) -> str:
        stream = await sdk.chat.completions.create(**body(answer, stream=True))
        return "".join([c.choices[0].delta.content or "" async for c in stream])

    async def ask_raw(answer: Answer) -> list[str]:
        async with httpx.AsyncClient(headers=HEADERS, timeout=60) as http:
            url = f"{mortal.server.url}/v1/chat/completions"
            reply = await http.post(url, json=body(answer, stream=True))
        return [line for line in reply.text.splitlines() if line]

    greedy, seeded = mortal.answers
    async with client(mortal) as sdk:
        text, lines = await asyncio.gather(ask(sdk, greedy), ask_raw(seeded))
    assert text == greedy.text
    assert ": restarted" in lines
    assert all(line.startswith("data: ") for line in lines if line != ": restarted")
    assert not any("restarted" in line for line in lines if line.startswith("data: "))
    mortal.check(deaths)


async def test_over_the_socket(mortal: Mortal, deaths: list[Death]) -> None:
    """Who asks for progress is told of the death; who does not sees text only."""
    greedy, seeded = mortal.answers
    async with opened(mortal.server) as socket:
        await socket.create("greedy", **body(greedy), events=["progress"])
        await socket.create("seeded", **body(seeded))
        told = await socket.answers(2)
    assert told["greedy"].text == greedy.text and told["seeded"].text == seeded.text
    restarts = [frame for frame in told["greedy"].progress if frame["stage"] == "restarted"]
    assert restarts and all(frame["reason"] == "signal SIGKILL" for frame in restarts)
    assert told["seeded"].progress == []
    mortal.check(deaths)


async def test_in_the_mimoe_dialect(mortal: Mortal, deaths: list[Death]) -> None:
    """A status of its own between the chunks."""

    async def ask(sdk: AsyncOpenAI, answer: Answer) -> tuple[str, set[str]]:
        text, stages = "", set()
        async for chunk in await sdk.chat.completions.create(**body(answer, stream=True)):
            text += chunk.choices[0].delta.content or ""
            if status := (chunk.model_extra or {}).get("mimoe_status"):
                stages.add(status["stage"])
        return text, stages

    async with client(mortal, MIMOE) as sdk:
        told = await asyncio.gather(*(ask(sdk, answer) for answer in mortal.answers))
    for answer, (text, stages) in zip(mortal.answers, told, strict=True):
        assert text == answer.text
        assert "restarted" in stages
    mortal.check(deaths)


async def test_a_poisonous_request_gets_a_500(mortal: Mortal) -> None:
    """After the second death, with the signal's name; its neighbours get their answers."""
    mortal.plan([], num_rows=3)
    poisonous = body(mortal.answers[0]) | {"messages": [{"role": "user", "content": POISON}]}
    async with client(mortal) as sdk:
        requests = [body(answer) for answer in mortal.answers] + [poisonous]
        asking = (sdk.chat.completions.create(**request) for request in requests)
        *told, error = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(error, openai.InternalServerError) and error.status_code == 500
    assert error.code == "engine_error" and "SIGABRT" in error.message
    for answer, completion in zip(mortal.answers, told, strict=True):
        assert not isinstance(completion, BaseException)
        assert completion.choices[0].message.content == answer.text
    assert Plan.read(mortal.known.model.folder).died == ["poison", "poison"]
    mortal.server.wait_until_empty()


async def test_the_connection_the_client_and_the_engine_at_once(
    mortal: Mortal, deaths: list[Death]
) -> None:
    """A response whose client is lost, begins again in another process and finds it, whole."""
    answer = mortal.answers[0]
    chat = body(answer)
    asked = {
        "input": chat.pop("messages")[0]["content"], "max_output_tokens": chat.pop("max_tokens")
    }  # fmt: skip
    messages = [
        {"type": "response.create", "stream_id": lane, "resumable": True, **chat, **asked}
        for lane in ("a", "b")
    ]
    lost: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
    async with opened(mortal.server, "/v1/responses") as socket:
        for message in messages:
            await socket.send(**message)
        while not all(lost.values()):
            event = await socket.receive()
            lost[event["stream_id"]].append(event)
        socket.connection.transport.abort()
        await socket.connection.wait_closed()
    told = await asyncio.gather(*(resumed(mortal, events) for events in lost.values()))
    for events in told:
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        said = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
        assert "".join(said) == answer.text
        assert events[-1]["response"]["usage"]["output_tokens"] == len(answer.tokens)
        restarts = [e["progress"] for e in events if "progress" in e]
        assert {restart["stage"] for restart in restarts} == {"restarted"}
    mortal.check(deaths)


async def resumed(mortal: Mortal, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All events of a stream, the later ones as a client in a process of its own is told them."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.resuming", mortal.server.url, before[0]["resume_token"],
        str(before[-1]["sequence_number"]), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    behind, _ = await client.communicate()
    return [*before, *json.loads(behind)]
