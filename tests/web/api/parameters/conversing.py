"""What shows that the other fields of each API are honoured; and all that are."""

from typing import Any

from . import calling, thinking
from .asked_apis import Api
from .constraining import CONSTRAINING, PLAIN, SCHEMA, fits_schema
from .drawing import DRAWING, LOUD, Honoured, stop


def messages(api: Api) -> None:
    said = api.ask(messages=[{"role": "user", "content": "Good night"}])
    assert said.text != api.ask().text


def prompt(api: Api) -> None:
    """A text, tokens, and several of either."""
    texts = ["Good night", "Good day"]
    alone = [api.ask(prompt=text).text for text in texts]
    body = api.ask(prompt=texts).body
    assert [choice["text"] for choice in body["choices"]] == alone
    asked = {"model": "tiny", "prompt": texts[0]}
    tokens = api.client.post("/tokenize", json=asked, headers=api.headers).json()["tokens"]
    assert api.ask(prompt=tokens).text == api.ask(prompt=[tokens]).text == alone[0]


def n(api: Api) -> None:
    texts = [c for c in api.ask(**LOUD, n=3, seed=1).body["choices"]]
    again = [c for c in api.ask(**LOUD, n=3, seed=1).body["choices"]]
    assert texts == again and len({str(c.get("text", c.get("message"))) for c in texts}) == 3


def logprobs(api: Api) -> None:
    body = api.ask(logprobs=True).body
    scores = body["choices"][0]["logprobs"]["content"]
    assert len(scores) == api.num_tokens and all(score["logprob"] <= 0 for score in scores)
    said = b"".join(bytes(score["bytes"]) for score in scores)
    assert said.decode("utf-8", "replace") == body["choices"][0]["message"]["content"]
    assert "logprobs" not in api.ask(logprobs=False).body["choices"][0]


def top_logprobs(api: Api) -> None:
    body = api.ask(logprobs=True, top_logprobs=5).body
    for score in body["choices"][0]["logprobs"]["content"]:
        others = score["top_logprobs"]
        assert len(others) == 5 and others[0]["logprob"] == score["logprob"]  # greedy
    api.refused(top_logprobs=1)  # without logprobs


def completion_logprobs(api: Api) -> None:
    told = api.ask(logprobs=2).body["choices"][0]["logprobs"]
    for name in ("tokens", "token_logprobs", "text_offset"):
        assert len(told[name]) == api.num_tokens
    for token_text, others in zip(told["tokens"], told["top_logprobs"], strict=True):
        assert token_text in others and len(others) <= 3


def echo(api: Api) -> None:
    assert api.ask(echo=True).text == "hello" + api.ask().text


def suffix(api: Api) -> None:
    reply = api.ask(suffix=" and good night")
    assert reply.num_prompt_tokens > api.ask().num_prompt_tokens + 3  # with the marks
    assert reply.text != api.ask().text
    api.refused(model="plain", suffix="x")  # which has no tokens for it


def best_of(api: Api) -> None:
    assert len(api.ask(n=2, best_of=2).body["choices"]) == 2


def add_special_tokens(api: Api) -> None:
    """This model has no token to begin with: what is added is none in any case."""
    assert api.ask(add_special_tokens=False).content() == api.ask().content()


def stream_options(api: Api) -> None:
    last = api.events(stream_options={"include_usage": True})[-1]
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == api.num_tokens
    assert api.events(stream_options={"include_usage": False})[-1].get("usage") is None


BEGUN = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "well, "},
]


def continue_final_message(api: Api) -> None:
    goes_on, begins = (
        api.ask(messages=BEGUN, continue_final_message=value) for value in (True, False)
    )
    assert goes_on.num_prompt_tokens < begins.num_prompt_tokens and goes_on.text != begins.text
    api.refused(continue_final_message=True, messages=BEGUN[:1])


def add_generation_prompt(api: Api) -> None:
    begins, bare = (api.ask(add_generation_prompt=value) for value in (True, False))
    assert begins.num_prompt_tokens > bare.num_prompt_tokens


def system(api: Api) -> None:
    plain = api.ask()
    told = api.ask(system="Be brief.")
    assert told.num_prompt_tokens > plain.num_prompt_tokens and told.text != plain.text
    assert api.ask(system=[{"type": "text", "text": "Be brief."}]).content() == told.content()


def output_config(api: Api) -> None:
    asked = {"format": {"type": "json_schema", "schema": SCHEMA}}
    fits_schema(api.ask(**PLAIN, output_config=asked).text)
    counts = {
        api.ask(thinking={"type": "adaptive"}, output_config={"effort": effort}).num_prompt_tokens
        for effort in ("low", "high")
    }
    assert len(counts) == 2


def output_format(api: Api) -> None:
    asked = {"type": "json_schema", "schema": SCHEMA}
    fits_schema(api.ask(**PLAIN, output_format=asked).text)


def stop_sequences(api: Api) -> None:
    stop(api, "stop_sequences")


def max_completion_tokens(api: Api) -> None:
    """It counts, where both are sent."""
    assert api.ask(max_completion_tokens=5).num_tokens == 5
    assert api.ask(max_completion_tokens=5, max_tokens=...).num_tokens == 5


OPENAI: dict[str, Honoured] = {
    "stop": Honoured(stop, [""]),
    "n": Honoured(n, 17),
    "stream_options": Honoured(stream_options, {"include_usage": True}),  # of no stream
}
CHATS = (
    DRAWING
    | CONSTRAINING
    | OPENAI
    | {
        "messages": Honoured(messages, []),
        "max_completion_tokens": Honoured(max_completion_tokens, 0),
        "logprobs": Honoured(logprobs, 5),
        "top_logprobs": Honoured(top_logprobs, 21),
        "tools": Honoured(calling.tools, [{"type": "retrieval"}]),
        "tool_choice": Honoured(calling.tool_choice, {"type": "mcp"}),
        "parallel_tool_calls": Honoured(calling.parallel_tool_calls, 1),
        "reasoning_effort": Honoured(thinking.reasoning_effort, "much"),
        "reasoning": Honoured(thinking.reasoning, {"max_tokens": -1}),
        "thinking": Honoured(thinking.thinking, {"type": "much"}),
        "enable_thinking": Honoured(thinking.enable_thinking, "yes"),
        "thinking_budget": Honoured(thinking.thinking_budget, -1),
        "thinking_token_budget": Honoured(thinking.thinking_token_budget, -1),
        "include_reasoning": Honoured(thinking.include_reasoning, "yes"),
        "chat_template_kwargs": Honoured(thinking.chat_template_kwargs, {"date": "today"}),
        "continue_final_message": Honoured(continue_final_message, "yes"),
        "add_generation_prompt": Honoured(add_generation_prompt, "yes"),
    }
)
COMPLETIONS = (
    DRAWING
    | CONSTRAINING
    | OPENAI
    | {
        "prompt": Honoured(prompt, []),
        "suffix": Honoured(suffix, 1),
        "echo": Honoured(echo, "yes"),
        "logprobs": Honoured(completion_logprobs, 21),
        "best_of": Honoured(best_of, 2),  # of one
        "add_special_tokens": Honoured(add_special_tokens, "yes"),
    }
)
MESSAGES = DRAWING | {
    "messages": Honoured(messages, []),
    "system": Honoured(system, [{"type": "image"}]),
    "stop_sequences": Honoured(stop_sequences, [""]),
    "tools": Honoured(calling.tools, [{"type": "bash_20250124", "name": "bash"}]),
    "tool_choice": Honoured(calling.message_tool_choice, {"type": "any"}),  # of no tools
    "thinking": Honoured(thinking.message_thinking, {"type": "enabled", "budget_tokens": 0}),
    "output_config": Honoured(output_config, {"effort": "much"}),
    "output_format": Honoured(output_format, {"type": "xml"}),
}
# Synonyms, with what is sent beside a value of each.
SENT: dict[str, tuple[Any, dict[str, Any]]] = {
    "repeat_penalty": (10, {"max_tokens": 40}),
    "rep_pen": (10, {"max_tokens": 40}),
    "random_seed": (7, LOUD),
    "n_cmpl": (2, {}),
    "max_new_tokens": (17, {"max_tokens": ...}),
    "max_tokens": (17, {}),
    "max_completion_tokens": (17, {}),
    "min_new_tokens": (5, {"logit_bias": {"2": 100}}),
    "ban_eos_token": (True, {"logit_bias": {"2": 100}}),
    "stop_sequences": (["s", "o"], {}),
}
