"""Items as turns that chat templates read.

What a model thinks, says and calls in one go are several items; templates want them as one turn.
"""

import json
from collections.abc import Sequence

from registry.checkpoint.config import Json
from runtime.requests import ChatMessage

from .items import CUSTOM_INPUT, ROLES, Item, read_parts, text_in, wrong
from .sealed_text import TooLong, opened
from .tools import full_name

_SUMMARY = "Summary of the conversation before:\n\n"
_MAX_OPENED = 16 << 20  # bytes of all that was sealed


def turns_of(
    items: Sequence[Item], instructions: str | None, num_before: int
) -> tuple[ChatMessage, ...]:
    """The conversation. `num_before` items are of earlier responses, and were read once.

    Raises ApiError that names the item of the input which is wrong.
    """
    reader = _Reader()
    if instructions:
        reader.turns.append(ChatMessage("system", instructions))
    for place, item in enumerate(items):
        reader.read(item, place - num_before)
    reader.close()
    return tuple(reader.turns)


class _Reader:
    """Items in, turns out; what an assistant thought, said and called is open until it is over."""

    def __init__(self) -> None:
        self.turns: list[ChatMessage] = []
        self._thoughts: list[str] = []
        self._later: list[str] = []  # thoughts behind words: of a call, or of the next words
        self._words: str | None = None
        self._calls: list[dict[str, Json]] = []
        self._called: set[str] = set()
        self._num_opened = 0

    def read(self, item: Item, number: int) -> None:
        """One more."""
        match item["type"]:
            case "message":
                self._message(item)
            case "reasoning":
                if self._calls:
                    self.close()
                thoughts = self._thoughts if self._words is None else self._later
                thoughts += filter(None, [self._thought(item, number)])
            case "function_call":
                self._call(item, number, text_in(item, "arguments", number))
            case "custom_tool_call":
                said = {CUSTOM_INPUT: text_in(item, "input", number)}
                self._call(item, number, json.dumps(said, ensure_ascii=False))
            case "function_call_output" | "custom_tool_call_output":
                self.close()
                self.turns.append(self._output(item, number))
            case "compaction":
                self.close()
                summary = self._opened(text_in(item, "encrypted_content", number), number)
                if summary is None:
                    wrong(number, "is a compaction that was not made here: nobody can read it")
                self.turns.append(ChatMessage("system", _SUMMARY + summary))

    def close(self) -> None:
        """What the assistant said is over."""
        self._thoughts += self._later
        if self._words is not None or self._calls or self._thoughts:
            self.turns.append(
                ChatMessage(
                    "assistant",
                    self._words if self._words is not None or self._calls else "",
                    tool_calls=self._calls or None,
                    reasoning_content="".join(self._thoughts) or None,
                )
            )
        self._thoughts, self._later, self._words, self._calls = [], [], None, []

    def _message(self, item: Item) -> None:
        role = ROLES[item["role"]]
        text = "".join(part["text"] for part in item["content"])
        if role == "assistant" and self._words is not None:
            later, self._later = self._later, []
            self.close()
            self._thoughts = later
        elif role != "assistant":
            self.close()
        if role == "assistant":
            self._words = text
        else:
            self.turns.append(ChatMessage(role, text))

    def _call(self, item: Item, number: int, arguments: str) -> None:
        call_id = text_in(item, "call_id", number)
        self._called.add(call_id)
        namespace = item.get("namespace")
        name = full_name(
            text_in(item, "name", number), namespace if isinstance(namespace, str) else None
        )
        function: dict[str, Json] = {"name": name, "arguments": arguments}
        self._calls.append({"id": call_id, "type": "function", "function": function})

    def _output(self, item: Item, number: int) -> ChatMessage:
        call_id = text_in(item, "call_id", number)
        if call_id not in self._called:
            wrong(number, f"is the output of {call_id!r:.100}, which no item before it calls")
        output = item.get("output")
        if isinstance(output, list):
            output = "".join(part["text"] for part in read_parts(output, "user", number))
        if not isinstance(output, str):
            wrong(number, "has an 'output' that is neither a text nor a list of parts")
        return ChatMessage("tool", output, tool_call_id=call_id)

    def _thought(self, item: Item, number: int) -> str:
        """What was thought, if it can be read: a summary is not what the model thought."""
        content = item.get("content") or []
        if not isinstance(content, list):
            wrong(number, "has a 'content' that is no list of texts")
        texts: list[str] = []
        for part in content:
            if not isinstance(part, dict) or not isinstance(part.get("text"), str):
                wrong(number, "has a 'content' that is no list of texts")
            texts.append(part["text"])
        sealed = item.get("encrypted_content")
        if not texts and isinstance(sealed, str):  # of another service: nobody here can read it
            return self._opened(sealed, number) or ""
        return "".join(texts)

    def _opened(self, sealed: str, number: int) -> str | None:
        """Within what all of a request may hold: a few bytes may be made to unfold to many."""
        try:
            text = opened(sealed, _MAX_OPENED - self._num_opened)
        except TooLong:
            wrong(number, f"holds more than {_MAX_OPENED} bytes with those before it, unpacked")
        self._num_opened += len((text or "").encode())
        return text
