"""pydantic-ai against the real server: an agent with tools, and output that is a model."""

from collections.abc import AsyncGenerator
from typing import Literal

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from tests.serving import KEY, ServerProcess


class Fruit(BaseModel):
    """A fruit."""

    name: str = Field(max_length=8)
    colour: Literal["red", "green"]


@pytest.fixture
async def model(server: ServerProcess) -> AsyncGenerator[OpenAIChatModel, None]:
    settings = ModelSettings(max_tokens=500, temperature=0, parallel_tool_calls=False)
    async with AsyncOpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        provider = OpenAIProvider(openai_client=client)
        yield OpenAIChatModel("tiny", provider=provider, settings=settings)


async def test_text_whole_and_streamed(model: OpenAIChatModel) -> None:
    agent = Agent(model, model_settings=ModelSettings(max_tokens=20, temperature=0))
    whole = (await agent.run("Hello you")).output
    async with agent.run_stream("Hello you") as streamed:
        pieces = [piece async for piece in streamed.stream_text(delta=True)]
    assert "".join(pieces) == whole


async def test_output_that_is_a_model(model: OpenAIChatModel) -> None:
    """By a schema of the answer."""
    agent = Agent(model, output_type=NativeOutput(Fruit))
    assert isinstance((await agent.run("Name a fruit.")).output, Fruit)


async def test_output_by_a_tool(model: OpenAIChatModel) -> None:
    """By a call that has to be made."""
    agent = Agent(model, output_type=Fruit)
    assert isinstance((await agent.run("Name a fruit.")).output, Fruit)
