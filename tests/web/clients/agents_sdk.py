"""`python agents_sdk.py URL`: OpenAI's Agents SDK with a tool, over HTTP and over WebSocket.

Run by `test_agents` with the SDK's folder on the path; checks what it gets by itself.
"""

import asyncio
import sys
from typing import Any

import agents  # type: ignore[import-not-found]
from openai import AsyncOpenAI


async def main(url: str) -> None:
    asked: list[str] = []

    @agents.function_tool  # type: ignore[untyped-decorator]
    def look(at: str) -> str:
        """Looks somewhere."""
        asked.append(at)
        return f"The {at} is blue."

    agents.set_tracing_disabled(True)
    agents.set_default_openai_client(AsyncOpenAI(base_url=url, api_key="1234", max_retries=0))
    settings = agents.ModelSettings(
        tool_choice="required", temperature=0, max_tokens=500, parallel_tool_calls=False
    )
    agent = agents.Agent(
        name="looker", instructions="Be kind.", model="tiny", tools=[look], model_settings=settings
    )
    answers: set[str] = set()
    for transport in ("http", "websocket"):
        agents.set_default_openai_responses_transport(transport)
        whole: Any = await agents.Runner.run(agent, "look at the sky", max_turns=3)
        answers.add(whole.final_output)
        streamed: Any = agents.Runner.run_streamed(agent, "look at the sky", max_turns=3)
        async for _ in streamed.stream_events():
            pass
        answers.add(streamed.final_output)
    assert len(answers) == 1 and len(asked) == 4, (answers, asked)
    print("done")


asyncio.run(main(sys.argv[1]))
