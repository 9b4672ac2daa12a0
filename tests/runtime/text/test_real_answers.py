"""Tests of answers as real chat templates write them: read back, they say what they were made of.

A template writes an answer of ours into a conversation; what stands behind the prompt is then read
as if the model had written it, cut at every place.
"""

import importlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from mlx_lm.tokenizer_utils import _infer_tool_parser

from registry.checkpoint.chat_format import ChatFormat
from runtime.text.prompt import ChatPrompt
from runtime.text.template import JinjaTemplate
from tests.runtime.engine.answer.answers import cuts, read

from . import real_templates
from .conversations import Message, assistant, call, calling, user
from .written import SAID, THOUGHT, answer_of, definitions

pytestmark = pytest.mark.slow

_ARGUMENTS: dict[str, Any] = {
    "town": 'Zürich "x"\n\\d {a}, [b]: (c)', "days": 3, "rate": -1.5, "deep": True,
    "tags": ["a", "b, c"], "near": {"x": {"y": [1, 2.5, "z"]}},
}  # fmt: skip
_FIRST = call(_ARGUMENTS, "look_up", "call00001")
_SECOND = call({"town": "Rome"}, "measure", "call00002")
_EMPTY = call({}, "measure", "call00003")


@pytest.fixture(scope="module")
def chats() -> dict[str, ChatPrompt]:
    tokens: dict[str, str | list[str]] = {"bos_token": "<s>", "eos_token": "</s>"}
    return {
        name: ChatPrompt(JinjaTemplate(source, tokens))
        for name, source in real_templates.sources().items()
    }


@pytest.fixture(scope="module")
def callers(chats: dict[str, ChatPrompt]) -> dict[str, ChatPrompt]:
    """Those that write calls."""
    return {name: chat for name, chat in chats.items() if chat.form.tool_calls}


def wanted(message: Message) -> list[tuple[str, Any]]:
    functions = [call["function"] for call in message["tool_calls"]]
    return [(function["name"], json.loads(function["arguments"])) for function in functions]


def messages_for(form: ChatFormat) -> Iterator[Message]:
    yield calling(_FIRST)
    yield calling(_EMPTY)
    if form.calls is not None and form.calls.between is not None:
        yield calling(_FIRST, _SECOND)


def test_how_calls_are_written_is_known_of_every_template(callers: dict[str, ChatPrompt]) -> None:
    assert len(callers) > 55
    assert [name for name, chat in callers.items() if chat.form.calls is None] == []


def test_calls_that_a_template_writes_are_read(callers: dict[str, ChatPrompt]) -> None:
    """The same names and arguments, whole and in single characters; and nothing of them is text."""
    failed = []
    for name, chat in callers.items():
        for message in messages_for(chat.form):
            text, form = answer_of(chat, message)
            for pieces in ([text], list(text)):
                answer = read(pieces, form)
                if answer.parsed != wanted(message) or answer.reasoning or "town" in answer.text:
                    failed.append((name, text, answer))
    assert failed == []


# Where mlx-lm's parser is wrong: a list in Python, tags that it takes for JSON, an id for the name.
_ONLY_OURS = {"LFM2.5-8B-A1B", "MiniMax-M3", "Mistral-Small-3.2-24B-Instruct-2506"}


def test_mlx_lms_parsers_read_the_same(callers: dict[str, ChatPrompt]) -> None:
    """Of the templates for which it has one."""
    failed, num_tried = [], 0
    for name, chat in callers.items():
        source = real_templates.sources()[name]
        kind = _infer_tool_parser(SimpleNamespace(chat_template=source, get_vocab=dict))
        if kind is None or name in _ONLY_OURS:
            continue
        num_tried += 1
        parser = importlib.import_module(f"mlx_lm.tool_parsers.{kind}")
        for message in messages_for(chat.form):
            text, form = answer_of(chat, message)
            theirs: list[tuple[str, Any]] = []
            for part in text.split(parser.tool_call_start)[1:]:
                end = parser.tool_call_end or "</s>"
                found = parser.parse_tool_call(part.partition(end)[0], definitions())
                calls = found if isinstance(found, list) else [found]
                theirs += [(call["name"], call["arguments"]) for call in calls]
            if theirs != read([text], form).parsed:
                failed.append((name, text, theirs))
    assert failed == []
    assert num_tried > 30


def test_calls_are_read_wherever_they_are_cut(callers: dict[str, ChatPrompt]) -> None:
    failed = []
    for name, chat in callers.items():
        is_parallel = chat.form.calls is not None and chat.form.calls.between is not None
        message = calling(_SECOND, _EMPTY) if is_parallel else calling(_SECOND)
        text, form = answer_of(chat, message)
        answers = {str(read(pieces, form)) for pieces in cuts(text)}
        if len(answers) != 1 or read([text], form).parsed != wanted(message):
            failed.append((name, text, answers))
    assert failed == []


def test_words_before_calls_are_told(callers: dict[str, ChatPrompt]) -> None:
    """In templates that take both in one turn, with the words first."""
    failed, num_tried = [], 0
    for name, chat in callers.items():
        text, form = answer_of(chat, calling(_SECOND, content=SAID))
        if not chat.form.content_with_calls or not 0 <= text.find(SAID) < text.find("measure"):
            continue
        num_tried += 1
        for pieces in cuts(text):
            answer = read(pieces, form)
            if answer.parsed != [("measure", {"town": "Rome"})] or SAID not in answer.text:
                failed.append((name, text, answer))
                break
    assert failed == []
    assert num_tried > 40


def test_thoughts_that_a_template_writes_are_read(chats: dict[str, ChatPrompt]) -> None:
    """And what is said behind them is told without any mark."""
    failed, num_tried = [], 0
    for name, chat in chats.items():
        if chat.form.thinking is None:
            continue
        message = assistant(SAID, **dict.fromkeys(("reasoning_content", "reasoning"), THOUGHT))
        text, form = answer_of(chat, message, has_tools=False)
        if THOUGHT not in text:  # of past turns they are left out
            assert form.thinking is not None
            start = "" if form.thinking.is_open else f"{form.thinking.start}\n"
            speech = "" if form.speech is None else form.speech.start
            text = f"{start}{THOUGHT}\n{form.thinking.end}\n\n{speech}{SAID}"
        if form.thinking is not None and not form.thinking.is_open:  # which the prompt has, closed
            text = text if form.thinking.start in text else form.thinking.start + text
        num_tried += 1
        for pieces in cuts(text):
            answer = read(pieces, form)
            if (
                answer.reasoning != THOUGHT
                or not answer.text.lstrip().startswith(SAID)
                or answer.calls
            ):
                failed.append((name, text, answer))
                break
    assert failed == []
    assert num_tried > 40


def test_an_answer_without_thoughts(chats: dict[str, ChatPrompt]) -> None:
    """Models that were not trained to think write no tags; of others some open an empty block."""
    failed = []
    for name, chat in chats.items():
        text, form = answer_of(chat, assistant(SAID), has_tools=False)
        for pieces in cuts(text):
            answer = read(pieces, form)
            if answer.reasoning or not answer.text.lstrip().startswith(SAID):
                failed.append((name, text, answer))
                break
    assert failed == []


def test_an_answer_that_is_cut_while_the_model_thinks(chats: dict[str, ChatPrompt]) -> None:
    for chat in chats.values():
        _, form = answer_of(chat, assistant(SAID), has_tools=False)
        if form.thinking is not None:
            start = "" if form.thinking.is_open else form.thinking.start
            answer = read(list(start + THOUGHT), form)
            assert (answer.text, answer.reasoning) == ("", THOUGHT)


def test_templates_without_tools_are_told_of_them(chats: dict[str, ChatPrompt]) -> None:
    """Every prompt has the functions, and says how to call them where the template does not."""
    for name, chat in chats.items():
        prompt = chat.render([user("Where is it?")], {"tools": definitions()}).text
        assert "look_up" in prompt and "measure" in prompt, name
        if not chat.knows_tools:
            assert "You can call functions." in prompt, name
