"""How much of a conversation comes back as it was drawn, with every real chat template.

`python -m tests.runtime.text.splice_table` prints it, with and without splicing.
"""

import json
import random
import re
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer

from runtime.text.__main__ import Worker
from runtime.text.prompt import ChatPrompt
from runtime.text.template import template_of, tool_template_of
from runtime.text_messages import EncodePrompt, Known, Refusal, Stop, Tokens
from tests.models.tiny_models import make_tokenizer
from tests.runtime.engine.answer.answers import read

from . import real_templates
from .conversations import Message, assistant, call, calling, result, user
from .written import SAID, THOUGHT, answer_of, definitions

_MARK = re.compile(r"<\|[^<>|\s]+\|>|</?[a-z_]+>|\[/?[A-Z_]+\]|<｜[^<>｜\s]+｜>|<[a-z]+_of_turn>")
_NUM_TURNS = 4
KINDS = ("words", "thoughts kept", "thoughts left out", "blanks", "calls", "calls rewritten")


class Count(NamedTuple):
    """Tokens of prompts and answers that have a turn behind them."""

    earlier: int = 0
    spliced: int = 0  # those that the next prompt begins with
    plain: int = 0  # as many, had everything been tokenised

    def plus(self, *more: int) -> "Count":
        return Count(*(one + other for one, other in zip(self, more, strict=True)))

    def __str__(self) -> str:
        size = max(1, self.earlier)
        return f"{self.spliced / size:7.1%} {self.plain / size:7.1%}"


class Share(NamedTuple):
    """Of one conversation with one template."""

    template: str
    kind: str
    whole: Count
    answers: Count  # of the tokens of answers alone
    stops: tuple[Stop, ...]  # of each turn behind the first


def shares() -> Iterator[Share]:
    """Of every template and kind of conversation that it knows."""
    with tempfile.TemporaryDirectory() as base:
        for name, source in real_templates.sources().items():
            folder = _folder(Path(base), name, source)
            chat = ChatPrompt(template_of(folder), tool_template_of(folder))
            for kind in KINDS:
                if kind.startswith("thoughts") and chat.form.thinking is None:
                    continue
                if kind.startswith("calls") and not (chat.form.tool_calls and chat.form.calls):
                    continue
                share = _Talk(name, kind, chat, folder).share()
                if share is not None:
                    yield share


def _folder(base: Path, name: str, source: str) -> Path:
    """Of a model whose tokenizer has the template's marks."""
    folder = base / name
    folder.mkdir()
    make_tokenizer(folder)
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    marks = sorted({"<s>", "</s>", *_MARK.findall(source)})
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in marks])
    tokenizer.save(str(path))
    (folder / "chat_template.jinja").write_text(source, encoding="utf-8")
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    return folder


class _Talk:
    """A model that draws what its template writes, in tokens by chance; and a client."""

    def __init__(self, name: str, kind: str, chat: ChatPrompt, folder: Path) -> None:
        self._name, self._kind, self._chat, self._folder = name, kind, chat, folder
        self._draw = random.Random(f"{name} {kind}")
        self._worker = Worker()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._has_tools = kind.startswith("calls")

    def share(self) -> Share | None:
        """None for a conversation that the template does not take."""
        messages: list[Message] = [user("Where do zebrafinches roost?")]
        known: list[Known] = []
        before: list[int] = []
        before_plain: list[int] = []
        whole, answers = Count(), Count()
        num_drawn = 0
        stops: list[Stop] = []
        for number in range(_NUM_TURNS):
            prompt, bare = self._prompt(messages, known), self._prompt(messages, [])
            if not (isinstance(prompt, Tokens) and isinstance(bare, Tokens)):
                return None
            assert prompt.spliced is not None and prompt.reading is not None
            if number:
                stops.append(prompt.spliced.stopped)
                spliced = _num_common(before, prompt.tokens)
                plain = _num_common(before_plain, bare.tokens)
                whole = whole.plus(len(before), spliced, plain)
                spliced -= len(before) - num_drawn
                plain -= len(before_plain) - num_drawn
                answers = answers.plus(num_drawn, max(0, spliced), max(0, plain))
            drawn, told = self._answer(number)
            num_drawn = len(drawn)
            messages += self._client(told, number)
            before, before_plain = [*prompt.tokens, *drawn], [*bare.tokens, *drawn]
            answer = array("I", drawn).tobytes()
            known = [Known(prompt.reading, array("I", prompt.tokens).tobytes(), [answer])]
        return Share(self._name, self._kind, whole, answers, tuple(stops))

    def _prompt(self, messages: list[Message], known: list[Known]) -> Tokens | Refusal:
        body: dict[str, Any] = {"messages": messages}
        if self._has_tools:
            body["tools"] = definitions()
        input = real_templates.request_of(body).input
        reply = self._worker.reply(EncodePrompt(str(self._folder), input, None, 30, known))
        assert isinstance(reply, Tokens | Refusal)
        return reply

    def _answer(self, number: int) -> tuple[list[int], Any]:
        """What is drawn, and what a client reads of it."""
        said = f"{SAID} {number}, as every one of them does."
        message = assistant(said)
        if self._kind.startswith("thoughts"):
            message |= {"reasoning_content": THOUGHT, "reasoning": THOUGHT}
        if self._has_tools:
            town = {"town": "Zürich", "days": number}
            message = calling(call(town, "look_up", f"call0000{number}"))
        text, form = answer_of(self._chat, message, has_tools=self._has_tools)
        if self._kind == "blanks":
            text = text.replace(said, f"\n\n{said} \n")
        words = self._words(text)
        while words and not words[-1].strip():
            words.pop()
        drawn = [token for word in words for token in self._ids(word)]
        if words and _MARK.fullmatch(words[-1]) and not self._is_of_call(words[-1]):
            words.pop()  # what ends a turn is no text
        return drawn, read(words, form)

    def _is_of_call(self, mark: str) -> bool:
        syntax = self._chat.form.calls
        return syntax is not None and mark in syntax.call_close + syntax.section_close

    def _words(self, text: str) -> list[str]:
        """Cut by chance, but marks are whole."""
        words: list[str] = []
        place = 0
        for mark in [*_MARK.finditer(text), None]:
            end = len(text) if mark is None else mark.start()
            while place < end:
                size = self._draw.randint(1, 5)
                words.append(text[place : min(end, place + size)])
                place += len(words[-1])
            if mark is not None:
                words.append(mark[0])
                place = mark.end()
        return words

    def _ids(self, word: str) -> list[int]:
        return list(self._tokenizer.encode(word, add_special_tokens=False).ids)

    def _client(self, told: Any, number: int) -> list[Message]:
        """What it sends back, and what else."""
        text = told.text.strip() if self._kind in ("blanks", "calls rewritten") else told.text
        message = assistant(text)
        if self._kind == "thoughts kept" and told.reasoning:
            message["reasoning_content"] = told.reasoning
        if told.calls:
            calls = []
            for name, arguments in told.calls:
                one = call({}, name, f"call0000{number}")
                if self._kind == "calls rewritten":
                    arguments = json.dumps(json.loads(arguments), separators=(",", ":"))
                one["function"]["arguments"] = arguments
                calls.append(one)
            return [calling(*calls, content=text or None), result("It is 37.", f"call0000{number}")]
        return [message, user(f"And the ocelots, number {number}?")]


def _num_common(one: Sequence[int], other: Sequence[int]) -> int:
    size = min(len(one), len(other))
    return next((place for place in range(size) if one[place] != other[place]), size)


def _row(name: str, kind: str, found: Sequence[Share]) -> str:
    whole, answers = Count(), Count()
    for share in found:
        whole, answers = whole.plus(*share.whole), answers.plus(*share.answers)
    stops = Counter(stop or "whole" for share in found for stop in share.stops)
    return f"{name[:40]:40} {kind:17} {whole} {answers}  {dict(stops)}"


def main() -> None:
    """All, the kinds in sum last."""
    print(f"{'':58} all: spliced, plain; of answers: spliced, plain; where it stopped")
    found = list(shares())
    for share in found:
        print(_row(share.template, share.kind, [share]))
    for kind in KINDS:
        own = [share for share in found if share.kind == kind]
        print(_row(f"{len(own)} templates", kind, own))


if __name__ == "__main__":
    main()
