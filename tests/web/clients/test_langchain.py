"""LangChain against the real server: streams, tools and structured output, as its users write
them."""

import json
from collections.abc import AsyncGenerator
from typing import Literal

import httpx
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, SecretStr

from tests.serving import KEY, ServerProcess


class Fruit(BaseModel):
    """A fruit."""

    name: str = Field(max_length=8)
    colour: Literal["red", "green"]


@tool
def weather(city: Literal["Rome", "Oslo"]) -> str:
    """Tells the weather of a city."""
    return f"Sunny in {city}."


@pytest.fixture
async def chat(server: ServerProcess) -> AsyncGenerator[ChatOpenAI, None]:
    """With clients of its own, which are closed."""
    with httpx.Client() as client:
        async with httpx.AsyncClient() as async_client:
            yield ChatOpenAI(
                model="tiny",
                base_url=server.url + "/v1",
                api_key=SecretStr(KEY),
                max_retries=0,
                temperature=0,
                max_completion_tokens=400,
                http_client=client,
                http_async_client=async_client,
            )


def test_whole_and_streamed(chat: ChatOpenAI) -> None:
    short = chat.bind(max_tokens=20)
    whole = short.invoke("Hello you")
    assert "".join(str(chunk.content) for chunk in short.stream("Hello you")) == whole.content


async def test_several_at_once(chat: ChatOpenAI) -> None:
    short = chat.bind(max_tokens=8)
    alone = [(await short.ainvoke(f"number {number}")).content for number in range(3)]
    together = await short.abatch([f"number {number}" for number in range(3)])
    assert [message.content for message in together] == alone


def test_a_tool_goes_round(chat: ChatOpenAI) -> None:
    """It is called, run, and its result is taken back."""
    calling = chat.bind_tools([weather], tool_choice="required", parallel_tool_calls=False)
    question = HumanMessage("How is the weather?")
    answer = calling.invoke([question])
    (call,) = answer.tool_calls
    assert call["name"] == "weather" and call["args"]["city"] in ("Rome", "Oslo")
    result = weather.invoke(call)
    assert isinstance(result, ToolMessage)
    assert chat.bind(max_tokens=5).invoke([question, answer, result])
    pieces = []
    for chunk in calling.stream([question]):
        assert isinstance(chunk, AIMessageChunk)
        pieces += chunk.tool_call_chunks
    assert pieces[0]["name"] == "weather" and {piece["index"] for piece in pieces} == {0}
    arguments = json.loads("".join(piece["args"] or "" for piece in pieces))
    assert arguments["city"] in ("Rome", "Oslo")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(
    chat: ChatOpenAI, method: Literal["json_schema", "function_calling"]
) -> None:
    answer = chat.with_structured_output(Fruit, method=method).invoke("Name a fruit.")
    assert isinstance(answer, Fruit)
