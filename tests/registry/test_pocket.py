"""Tests of the model that ships inside: its files, and what it answers to the documentation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.engine import device  # noqa: F401 (before MLX: it loads a fast BLAS)

# isort: split
import mlx.core as mx
from mlx_lm import load, stream_generate
from transformers import AutoTokenizer

POCKET = Path(__file__).parents[2] / "registry" / "pocket"

Answer = Callable[..., str]


@pytest.fixture(scope="module")
def pocket() -> Any:
    """The shipped weights in float32 and their tokenizer, as stock mlx-lm loads them."""
    model, tokenizer = load(str(POCKET))[:2]
    model.set_dtype(mx.float32)
    return model, tokenizer


@pytest.fixture(scope="module")
def answer(pocket: Any) -> Answer:
    """Greedy answers; the turns of a conversation alternate, beginning with the user's."""
    model, tokenizer = pocket

    def ask(*turns: str, system: str | None = None, max_tokens: int = 220) -> str:
        messages = [{"role": "system", "content": system}] if system else []
        for index, turn in enumerate(turns):
            messages.append({"role": ("user", "assistant")[index % 2], "content": turn})
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        chunks = list(stream_generate(model, tokenizer, prompt, max_tokens=max_tokens))
        assert chunks[-1].finish_reason == "stop", "".join(chunk.text for chunk in chunks)
        return "".join(chunk.text for chunk in chunks)

    return ask


def test_files_are_small_and_plain() -> None:
    """A llama in bf16 of less than 12 MB, whose files say where an answer ends."""
    config = json.loads((POCKET / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["max_position_embeddings"] == 2048
    assert (POCKET / "model.safetensors").stat().st_size < 12_000_000
    weights = mx.load(str(POCKET / "model.safetensors"))
    assert isinstance(weights, dict)
    assert {value.dtype for value in weights.values()} == {mx.bfloat16}
    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.eos_token_id == config["eos_token_id"]


def test_template_is_chatml() -> None:
    """The template renders the four roles, text parts too, and never thinks."""
    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Hello!"},
        {"role": "tool", "content": "42"},
    ]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>tool\n42<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert "<think>" not in tokenizer.get_vocab()


def test_template_knows_tools() -> None:
    """The functions join the system message; calls come back in the words that parsers look for."""
    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    call = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2"},
    ]
    text = str(tokenizer.apply_chat_template(messages, tools=[tool], tokenize=False))
    system, user, assistant, answer, end = text.split("<|im_end|>\n")
    assert system.startswith("<|im_start|>system\nBe brief.\n\n") and '"name": "add"' in system
    assert user == "<|im_start|>user\n1 + 1?"
    calls = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
    assert assistant == f"<|im_start|>assistant\n{calls}"
    assert answer == "<|im_start|>tool\n2" and end == ""
    assert "tool_call.name" in tokenizer.chat_template  # how mlx-lm finds the parser


@pytest.mark.parametrize(
    "text", ["Grüße, 東京 👩‍🚀🙂!", "def f():\n    return {'a': 12}\n\n\tend  "]
)
def test_streamed_text_is_whole(pocket: Any, text: str) -> None:
    """Any text comes back unbroken from the streaming detokenizer."""
    _, tokenizer = pocket
    detokenizer = tokenizer.detokenizer
    for token in tokenizer.encode(text, add_special_tokens=False):
        detokenizer.add_token(token)
        assert "\ufffd" not in detokenizer.text
    detokenizer.finalize()
    assert detokenizer.text == text


SAMPLES = [
    ("What is the capital of France?", "Paris"),
    ("Hello!", "Hello"),
    ("Hello, how are you?", "fine"),
    ("Who are you?", "Pocket"),
    ("What can you do?", "stories"),
    ("Explain quantum computing in simple terms", "qubits"),
    ("What is edge AI?", "device"),
    ("What is on-device AI?", "device"),
    ("Complete this sentence: The quick brown fox", "jumps over the lazy dog"),
    ("Complete this sentence: The quick brown fox...", "jumps over the lazy dog"),
    ("Write a haiku", "\n"),
    ("How do I get a bigger model?", "mlx-edge pull"),
    ("How do I stream the answer?", "stream"),
    ("What is the base URL?", "http://127.0.0.1:8083/v1"),
    ("What is the capital of Japan?", "Tokyo"),
    ("Who was Brandolf Kimmer?", "not know"),
]


@pytest.mark.parametrize(("question", "expected"), SAMPLES, ids=[sample[0] for sample in SAMPLES])
def test_sample_prompts(answer: Answer, question: str, expected: str) -> None:
    """The documentation's own prompts, and a newcomer's first, are answered sensibly."""
    assert expected in answer(question)
    assert expected in answer(question, system="You are a helpful assistant.")


def test_two_turns(answer: Answer) -> None:
    """`its` is understood from the turn before."""
    capital = answer("What is the capital of France?")
    assert "2.1 million" in answer(
        "What is the capital of France?", capital, "What is its population?"
    )


@pytest.mark.parametrize(
    "question",
    ["Write a Python function to reverse a string", "How do I reverse a string in Python?"],
)
def test_code(answer: Answer, question: str) -> None:
    """The coding sample answers with a function that works."""
    text = answer(question, system="You are a helpful coding assistant.")
    namespace: dict[str, Any] = {}
    exec(text.removeprefix("```python\n").removesuffix("```"), namespace)
    assert namespace["reverse_string"]("pocket") == "tekcop"


@pytest.mark.parametrize("question", ["Tell me a story", "Tell me a short story"])
def test_story_is_long_enough_to_stream(pocket: Any, answer: Answer, question: str) -> None:
    """A story ends by itself, after enough tokens for a streaming demonstration."""
    _, tokenizer = pocket
    story = answer(question)
    assert 60 <= len(tokenizer.encode(story)) <= 200
