"""`python -m runtime.text FD`: one text worker, serving one job after the other over socket FD."""

import contextlib
import itertools
import math
import os
import queue
import resource
import signal
import socket
import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from registry.checkpoint import chat_template
from registry.checkpoint.tokenizer.load import files as tokenizer_files
from runtime.processes import frames
from runtime.processes.orphan import end_with_parent
from runtime.requests import (
    AnswerFormat,
    ChatInput,
    ChatMessage,
    Constraint,
    TextInput,
    Tool,
    ToolUse,
)
from runtime.text_messages import (
    Decode,
    Decoded,
    Described,
    DescribeTemplate,
    EncodePairs,
    EncodePrompt,
    EncodeTexts,
    Job,
    Known,
    Reading,
    Refusal,
    Reply,
    Texts,
    Tokens,
)

from .answer_format import answer_format
from .borders import borders
from .fill_in import fill_in
from .grammar.answer import grammar_of
from .grammar.refused import ConstraintRefused
from .pairs import PairPrompt
from .prompt import ChatPrompt
from .splice import Splice
from .splice import splice as splice_in
from .stops import stop_of
from .template import ChatTemplate, TemplateError, template_of, tool_template_of
from .tokenizer import ModelTokenizer
from .tool_turns import ConversationRefused

_MAX_FOLDERS = 8  # tokenizers kept, least recently used out first
_MAX_ADDRESS_SPACE = 4 << 30

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)


Stamp: TypeAlias = tuple[tuple[Path, int], ...]
Pairs: TypeAlias = Iterable[tuple[int, int]]  # characters and tokens before a place


@dataclass(frozen=True)
class Text:
    """A model's template and tokenizer, as of its files' time stamps."""

    folder: Path
    stamp: Stamp
    tokenizer: ModelTokenizer

    @cached_property
    def template(self) -> ChatTemplate:
        return template_of(self.folder)  # only when asked for: an embedding model has none

    @cached_property
    def chat(self) -> ChatPrompt:
        return ChatPrompt(self.template, tool_template_of(self.folder))

    def fitting(self, known: Sequence[Known]) -> list[Known]:
        """Of what is known, what was read by the same files."""
        return [one for one in known if one.reading.stamp == self._times]

    @property
    def _times(self) -> tuple[int, ...]:
        return tuple(time for _, time in self.stamp)

    def reading(self, text: str, splice: Splice, marks: Pairs = (), borders: Pairs = ()) -> Reading:
        """How a text was read, to be known at the next one."""
        flat = array("I", itertools.chain.from_iterable(marks)).tobytes()
        return Reading(self._times, text, flat, splice.drawn, list(borders))


class Worker:
    """Keeps what it loaded, so that a conversation's next turn costs a third of a millisecond."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, Text] = OrderedDict()

    def reply(self, job: Job) -> Reply:
        what = "messages" if isinstance(job, EncodePrompt | DescribeTemplate) else "texts"
        try:
            text = self._text(job.folder)
            match job:
                case EncodePrompt():
                    if isinstance(job.input, ChatInput):
                        return _chat(text, job.input, job.constraint, text.fitting(job.known))
                    return _continued(text, job.input, job.constraint, text.fitting(job.known))
                case Decode():
                    return Decoded(*text.tokenizer.decode(job.tokens))
                case DescribeTemplate():
                    return Described(text.chat.form)
                case EncodeTexts():
                    return Texts(*text.tokenizer.texts(job.texts, job.query, job.max_tokens))
                case EncodePairs():
                    pair = PairPrompt(text.template, text.tokenizer, job.query, job.instruction)
                    return Texts(pair.tokens(job.documents, job.max_tokens), [])
        except ConversationRefused as error:
            return Refusal(str(error))
        except ConstraintRefused as error:
            return Refusal(str(error), error.param)
        except TemplateError as error:
            return Refusal(f"The chat template failed: {error}")
        except MemoryError:
            return Refusal(f"The {what} need too much memory to be read.")
        except Exception as error:
            return Refusal(f"The {what} could not be tokenized: {error}")

    def _text(self, name: str) -> Text:
        folder = Path(name)
        paths = {*tokenizer_files(folder), *chat_template.files(folder)}
        stamp = tuple((path, _stamp(path)) for path in sorted(paths))
        text = self._texts.get(name)
        if text is None or text.stamp != stamp:
            text = Text(folder, stamp, ModelTokenizer(folder))
        self._texts[name] = text
        self._texts.move_to_end(name)
        while len(self._texts) > _MAX_FOLDERS:
            self._texts.popitem(last=False)
        return text


def _chat(
    text: Text, chat: ChatInput, constraint: Constraint | None, known: Sequence[Known]
) -> Tokens:
    """The prompt of a conversation. Raises TemplateError, ConstraintRefused."""
    options = dict(chat.options)
    if chat.tool_use.tools and chat.tool_use.choice != "none":
        options["tools"] = [_definition(tool) for tool in chat.tool_use.tools]
    messages = [_as_sent(message) for message in chat.messages]
    chosen = text.chat.chosen(messages, options)
    prompt = chosen.render(messages, options, chat.turn)
    form = answer_format(chosen.form, chat, prompt.text, constraint, text.tokenizer.trial)
    splice = splice_in(text.tokenizer, prompt.text, known, text.tokenizer.encode)
    places = borders(chosen, messages, options, chat.turn, prompt.text, splice.known)
    pairs = [(place, splice.token_at(place)) for place in places]
    within = sorted({token for _, token in pairs if 0 < token < len(splice.tokens)})
    reading = text.reading(prompt.text, splice, splice.marks, pairs)
    stop = stop_of(splice.told, splice.said, chosen.form)
    told = msgspec.structs.replace(splice.told, stopped=stop)
    return Tokens(splice.tokens, prompt.call_ids, form, within, reading, told)


def _continued(
    text: Text, continued: TextInput, constraint: Constraint | None, known: Sequence[Known]
) -> Tokens:
    """A text as the model's tokenizer reads it; tokens stand as they are."""
    grammar = grammar_of(None, None, None, ToolUse(), constraint, text.tokenizer.trial)
    form = AnswerFormat(grammar=grammar)
    if not isinstance(continued.text, str):
        return Tokens(list(continued.text), form=form)
    if not continued.suffix:
        encode = partial(text.tokenizer.encode, adds_special=continued.adds_special)
        splice = splice_in(text.tokenizer, continued.text, known, encode)
        reading = text.reading(continued.text, splice)
        return Tokens(splice.tokens, form=form, reading=reading, spliced=splice.told)
    filled = fill_in(text.tokenizer, continued.text, continued.suffix)
    if filled is None:
        message = "This model has no tokens for filling in: send no suffix."
        raise ConstraintRefused(message, "suffix")
    return Tokens(filled, form=form)


def _definition(tool: Tool) -> dict[str, Any]:
    """A function as templates read it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    said = {name: value for name, value in function.items() if value is not None}
    return {"type": "function", "function": said}


def _as_sent(message: ChatMessage) -> dict[str, Any]:
    """The message as JSON has it; one with calls and no words has null for them."""
    content = {"role": message.role, "content": message.content}
    as_json: dict[str, Any] = msgspec.to_builtins(message)
    return content | as_json


def _stamp(path: Path) -> int:
    """When the file was written; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def main() -> None:
    _limit_memory()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, even inside C code
    end_with_parent()
    sock = socket.socket(fileno=int(sys.argv[1]))
    inbox: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sock, inbox), daemon=True).start()
    worker = Worker()
    frames.send_blocking(sock, b"ready")
    while True:
        job = inbox.get()
        # The parent kills at the deadline; this is for a parent that is gone.
        signal.alarm(math.ceil(job.deadline_s) + 1)
        reply = worker.reply(job)
        signal.alarm(0)
        frames.send_blocking(sock, _encoder.encode(reply))


def _receive(sock: socket.socket, inbox: "queue.SimpleQueue[Job]") -> None:
    """Read jobs off the main thread, so that a parent's death ends a looping template at once."""
    with contextlib.suppress(OSError):
        while (payload := frames.read_blocking(sock)) is not None:
            inbox.put(_decoder.decode(payload))
    os._exit(0)


def _limit_memory() -> None:
    """A template that multiplies strings must not take the machine's memory within its deadline."""
    # macOS accepts the call for some limits only.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_ADDRESS_SPACE, _MAX_ADDRESS_SPACE))


if __name__ == "__main__":
    main()
