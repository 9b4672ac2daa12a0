"""Which tokens prompts stood for, and what was drawn behind them: what the next one goes on from.

Kept in the web process, so that it outlives text workers and they share it; bounded in bytes.
"""

import hashlib
import itertools
import sys
import time
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from operator import eq
from pathlib import Path
from typing import TypeAlias

import msgspec

from .beginning import common_length
from .requests import ChatInput, Input, TextInput
from .text_messages import Known, Reading, Spliced, Tokens

_BUDGET_BYTES = 32 << 20
_MAX_ENTRIES = 1024  # each is looked at when a prompt comes, while nobody else is served
_MAX_ANSWERS = 8  # to one prompt
_MAX_WHOLE = 2  # prompts that a worker is told
_MAX_NOTES = 32  # of last prompts, of all models

# What is compared before a prompt is rendered: digests of each beginning of a conversation; or, of
# a text, whether special tokens are set around it.
_Key: TypeAlias = tuple[bytes, ...] | bool

_encoder = msgspec.msgpack.Encoder()


class Entry:
    """A prompt that was read."""

    def __init__(self, folder: Path, key: _Key, reading: Reading, tokens: bytes) -> None:
        self.folder = folder
        self.key = key
        self.reading = reading
        self.tokens = tokens
        self.answers: list[bytes] = []  # the last one first

    @property
    def num_bytes(self) -> int:
        numbers = (self.tokens, self.reading.marks, *self.answers)
        return sys.getsizeof(self.reading.text) + sum(map(sys.getsizeof, numbers))

    @property
    def length(self) -> int:
        """In messages, or characters."""
        return len(self.key if isinstance(self.key, tuple) else self.reading.text)

    def num_common(self, key: _Key | None, text: str) -> int:
        """How much a prompt begins with of this one: messages, or characters."""
        if isinstance(self.key, tuple) and isinstance(key, tuple):
            return sum(1 for _ in itertools.takewhile(bool, map(eq, self.key, key)))
        return common_length(self.reading.text, text) if self.key == key else 0

    @property
    def known(self) -> Known:
        return Known(self.reading, self.tokens, self.answers)


class SplicedPrompt(msgspec.Struct, frozen=True):
    """How one prompt fared."""

    id: int  # of its request
    at: float  # unix time
    prompt_tokens: int
    spliced: Spliced


class Splices:
    """Used on one event loop. What was asked for last goes last."""

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self.num_bytes = 0
        self.budget_bytes = budget_bytes
        self._entries: OrderedDict[tuple[Path, str], Entry] = OrderedDict()
        self._notes: deque[tuple[Path, SplicedPrompt]] = deque(maxlen=_MAX_NOTES)

    def find(self, folder: Path, input: Input) -> list[Known]:
        """The prompts that begin most like this one, the last ones first.

        Those that are all in it, whose answers may follow; and one that goes on otherwise.
        """
        key = _key(input)
        text = input.text if isinstance(input, TextInput) and isinstance(input.text, str) else ""
        sizes = [
            (entry.num_common(key, text), entry)
            for entry in reversed(self._entries.values())
            if key is not None and entry.folder == folder
        ]
        longest = max((size for size, _ in sizes), default=0)
        best = [entry for size, entry in sizes if size == longest > 0]
        whole = [entry for entry in best if longest == entry.length]
        others = [entry for entry in best if longest != entry.length]
        found = [*whole[:_MAX_WHOLE], *others[:1]]
        for entry in reversed(found):
            self._entries.move_to_end((folder, entry.reading.text))
        return [entry.known for entry in found]

    def read(self, folder: Path, input: Input, prompt: Tokens) -> Entry | None:
        """Keep how a prompt was read; None for one that is no text."""
        key = _key(input)
        if prompt.reading is None or key is None:
            return None
        tokens = array("I", prompt.tokens).tobytes()
        entry = self._entries.pop((folder, prompt.reading.text), None)
        if entry is not None:
            self.num_bytes -= entry.num_bytes
        if entry is None or entry.tokens != tokens or entry.reading != prompt.reading:
            entry = Entry(folder, key, prompt.reading, tokens)
        self._keep(entry)
        return entry

    def answered(self, entry: Entry, drawn: Sequence[int]) -> None:
        """Keep what was drawn behind a prompt that was read."""
        if not drawn or not self._drop(entry):
            return
        answer = array("I", drawn).tobytes()
        others = [other for other in entry.answers if other != answer]
        entry.answers = [answer, *others][:_MAX_ANSWERS]
        self._keep(entry)

    def note(self, folder: Path, id: int, prompt: Tokens) -> None:
        """Note how a prompt fared, for people who ask."""
        if prompt.spliced is not None:
            told = SplicedPrompt(id, time.time(), len(prompt.tokens), prompt.spliced)
            self._notes.appendleft((folder, told))

    def notes(self, folder: Path) -> list[SplicedPrompt]:
        """How the last prompts of a model fared, the newest first."""
        return [told for own, told in self._notes if own == folder]

    def forget(self, folder: Path | None = None) -> None:
        """Drop all of a model, or of all."""
        for entry in list(self._entries.values()):
            if folder in (None, entry.folder):
                self._drop(entry)
        notes = [note for note in self._notes if folder not in (None, note[0])]
        self._notes = deque(notes, maxlen=_MAX_NOTES)

    def _keep(self, entry: Entry) -> None:
        self._entries[entry.folder, entry.reading.text] = entry
        self.num_bytes += entry.num_bytes
        while self.num_bytes > self.budget_bytes or len(self._entries) > _MAX_ENTRIES:
            self._drop(next(iter(self._entries.values())))

    def _drop(self, entry: Entry) -> bool:
        """False for one that is not there any more."""
        place = entry.folder, entry.reading.text
        if self._entries.get(place) is not entry:
            return False
        del self._entries[place]
        self.num_bytes -= entry.num_bytes
        return True


def _key(input: Input) -> _Key | None:
    """None for what is not read as a text is."""
    if isinstance(input, ChatInput):
        return tuple(_digests(input))
    return input.adds_special if isinstance(input.text, str) and not input.suffix else None


def _digests(input: ChatInput) -> Iterator[bytes]:
    """Of each beginning of the conversation."""
    digest = hashlib.blake2b(digest_size=12)
    for message in input.messages:
        digest.update(_encoder.encode(message))
        yield digest.digest()
