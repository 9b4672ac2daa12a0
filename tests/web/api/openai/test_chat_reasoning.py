"""Tests of reasoning over the wire: thoughts are told apart, whole and streamed, in every API."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.models.tiny_models import make_llama
from tests.serving import KEY, ServerProcess, link_model
from tests.sockets import opened

TURN = """<|im_start|>{{ message.role }}
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content }}<|im_end|>
"""
BEGIN = """<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% elif opens %}<think>
{% endif %}"""
TEMPLATE = (
    "{% for message in messages %}" + TURN + "{% endfor %}"
    "{% if add_generation_prompt %}" + BEGIN + "{% endif %}"
)
ASK: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]
# Random weights end no thought by themselves, and no answer.
SETTINGS: dict[str, Any] = {
    "model": "opened",
    "messages": ASK,
    "seed": 4,
    "max_tokens": 200,
    "temperature": 1,
}
BOUND = {"reasoning": {"max_tokens": 12}, "guided_choice": ["blue", "because"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`opened`, whose template begins the thought; `free`, whose model may do so."""
    folder: Path = tmp_path_factory.mktemp("reasoning")
    tiny = make_llama(folder / "tiny")
    for name in ("opened", "free"):
        copy = shutil.copytree(tiny, folder / name)
        opens = "true" if name == "opened" else "false"
        (copy / "chat_template.jinja").write_text(f"{{% set opens = {opens} %}}{TEMPLATE}")
        link_model(folder / "home", name, copy)
    with ServerProcess(folder / "home") as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


def ask(client: OpenAI, **more: Any) -> tuple[str, str, Any]:
    """What is thought, what is said, and the usage."""
    answer = client.chat.completions.create(**SETTINGS, extra_body=more)
    message: Any = answer.choices[0].message
    return getattr(message, "reasoning_content", "") or "", message.content or "", answer.usage


def test_a_budget_closes_the_thought(client: OpenAI) -> None:
    """Then the answer follows, as it has to be; the tokens are counted apart."""
    thought, said, usage = ask(client, **BOUND)
    assert thought and said in BOUND["guided_choice"]
    assert 12 <= usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens
    assert "think>" not in thought + said


def test_streamed_it_is_the_same(client: OpenAI) -> None:
    expected = ask(client, **BOUND)[:2]
    thought, said = "", ""
    for chunk in client.chat.completions.create(**SETTINGS, extra_body=BOUND, stream=True):
        delta: Any = chunk.choices[0].delta
        assert not (getattr(delta, "reasoning_content", None) and delta.content)
        thought += getattr(delta, "reasoning_content", None) or ""
        said += delta.content or ""
    assert (thought, said) == expected


def test_a_thought_that_is_cut_is_no_answer(client: OpenAI) -> None:
    """By the length it stays a thought."""
    answer = client.chat.completions.create(**SETTINGS | {"max_tokens": 20})
    message: Any = answer.choices[0].message
    assert message.reasoning_content and message.content == ""
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    "off",
    [
        {"enable_thinking": False}, {"reasoning_effort": "none"}, {"reasoning": {"enabled": False}},
        {"chat_template_kwargs": {"enable_thinking": False}}, {"thinking": {"type": "disabled"}},
        {"thinking_budget": 0},
    ],
    ids=str,
)  # fmt: skip
def test_thinking_is_switched_off(client: OpenAI, off: dict[str, Any]) -> None:
    """The template closes the block, so all that comes is said."""
    thought, said, usage = ask(client, **off | {"guided_choice": ["blue"]})
    assert (thought, said) == ("", "blue")
    assert usage.completion_tokens_details.reasoning_tokens == 0


def test_thoughts_are_kept_back(client: OpenAI) -> None:
    """They are thought all the same."""
    for more in ({"include_reasoning": False}, {"reasoning": {"max_tokens": 12, "exclude": True}}):
        thought, said, usage = ask(client, **BOUND | {"reasoning": {"max_tokens": 12}} | more)
        assert thought == "" and said
        assert usage.completion_tokens_details.reasoning_tokens >= 12


def test_a_model_that_need_not_think(client: OpenAI) -> None:
    """It may begin with its answer."""
    message: Any = client.chat.completions.create(
        **SETTINGS | {"model": "free", "extra_body": {"guided_regex": "[ab]{3}"}}
    ).choices[0].message  # fmt: skip
    assert message.content and set(message.content) <= {"a", "b"}


def test_thoughts_go_back(client: OpenAI) -> None:
    """An answer is taken back with what was thought, under both names."""
    for name in ("reasoning_content", "reasoning"):
        answer = {"role": "assistant", "content": "Blue.", name: "Light, hm."}
        history: Any = [*ASK, answer, {"role": "user", "content": "And red?"}]
        with_thought = client.chat.completions.create(
            **SETTINGS | {"messages": history, "max_tokens": 1}
        )
        history[1] = {"role": "assistant", "content": "Blue."}
        without = client.chat.completions.create(
            **SETTINGS | {"messages": history, "max_tokens": 1}
        )
        assert with_thought.usage and without.usage
        assert with_thought.usage.prompt_tokens > without.usage.prompt_tokens


def test_as_anthropics_blocks(server: ServerProcess) -> None:
    """Thinking and then text, each opened and closed; a thought is signed. It is not shown to who
    did not ask for it."""
    settings: dict[str, Any] = {"model": "opened", "messages": ASK, "max_tokens": 400}
    settings["output_config"] = {"format": {"type": "json_schema", "schema": {"enum": ["blue"]}}}
    with Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:
        thinking: Any = {"type": "enabled", "budget_tokens": 12}
        whole = client.messages.create(**settings, thinking=thinking)
        with client.messages.stream(**settings, thinking=thinking) as stream:
            streamed = stream.get_final_message()
        silent = client.messages.create(**settings)
    answer: Any
    for answer in (whole, streamed):
        first, second = answer.content
        assert first.type == "thinking" and first.thinking and first.signature
        assert second.type == "text" and json.loads(second.text) == "blue"
        assert answer.usage.output_tokens_details is not None
        assert answer.usage.output_tokens_details.thinking_tokens >= 12
    assert [block.type for block in silent.content] == ["text"]


async def test_over_the_socket(server: ServerProcess, client: OpenAI) -> None:
    expected = ask(client, **BOUND)[:2]
    async with opened(server) as socket:
        await socket.create("1", **SETTINGS | BOUND)
        answer = (await socket.answers(1))["1"]
    deltas = [chunk["choices"][0]["delta"] for chunk in answer.chunks if chunk["choices"]]
    thought = "".join(delta.get("reasoning_content", "") for delta in deltas)
    assert (thought, answer.text) == expected
    usage = answer.last["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] >= 12


def test_what_is_known_of_it(server: ServerProcess) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    shown = httpx.get(f"{server.url}/v1/models/opened", headers=headers).json()
    assert shown["chat_template"]["thinking"] == ["<think>", "</think>"]
    assert shown["info"]["reasoning"] == {"supported": True}
