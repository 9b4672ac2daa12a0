"""Tests of runtime.splices: what is kept of prompts, which of it is found, and how much."""

from array import array
from pathlib import Path

from runtime.requests import ChatInput, ChatMessage, Input, TextInput
from runtime.splices import Entry, Splices
from runtime.text_messages import Reading, Spliced, Tokens

FOLDER = Path("models/a")


def chat(*texts: str) -> ChatInput:
    return ChatInput(tuple(ChatMessage("user", text) for text in texts))


def read(splices: Splices, input: Input, text: str = "", folder: Path = FOLDER) -> Entry:
    """A prompt that was read, whose text is that of its messages where none is given."""
    if isinstance(input, ChatInput):
        text = text or "|".join(message.content or "" for message in input.messages)
    reading = Reading((1,), text, b"", [], [])
    prompt = Tokens(list(range(len(text))), reading=reading, spliced=Spliced())
    entry = splices.read(folder, input, prompt)
    assert entry is not None
    return entry


def found(splices: Splices, input: Input, folder: Path = FOLDER) -> list[str]:
    return [known.reading.text for known in splices.find(folder, input)]


def test_the_longest_beginning_is_found() -> None:
    """Of messages that are the same to the last letter; nothing where the first differs."""
    splices = Splices()
    for input in (chat("s", "a"), chat("s", "a", "b", "c"), chat("s", "x", "y", "z")):
        read(splices, input)
    assert found(splices, chat("s", "a", "b", "c", "d", "e")) == ["s|a|b|c"]
    assert found(splices, chat("s", "a", "B", "c")) == ["s|a", "s|a|b|c"]
    assert found(splices, chat("s", "q")) == ["s|a"]  # it was asked for last
    assert found(splices, chat("t", "a")) == []
    assert found(splices, chat("s", "a"), Path("models/b")) == []


def test_texts_are_found_by_their_letters() -> None:
    """Not among conversations, nor among those with other special tokens."""
    splices = Splices()
    read(splices, TextInput("Once upon a time"), "Once upon a time")
    read(splices, TextInput("Once upon"), "Once upon")
    assert found(splices, TextInput("Once upon a time, and")) == ["Once upon a time"]
    assert found(splices, TextInput("Once more")) == ["Once upon a time"]
    for other in (
        TextInput("Once upon", adds_special=False),
        TextInput("Once upon", suffix="time"),
        TextInput((1, 2)),
        chat("Once upon"),
    ):
        assert found(splices, other) == []
    assert splices.read(FOLDER, TextInput((1, 2)), Tokens([1, 2])) is None


def test_answers_are_kept_the_last_one_first() -> None:
    """Each once, and eight at most; those of a prompt that is asked again stay."""
    splices = Splices()
    for number in [*range(10), 5]:
        splices.answered(read(splices, chat("a")), [number])
    splices.answered(read(splices, chat("a")), [])
    (known,) = splices.find(FOLDER, chat("a"))
    assert [array("I", answer)[0] for answer in known.answers] == [5, 9, 8, 7, 6, 4, 3, 2]


def test_bytes_are_bounded() -> None:
    """Who was not asked for longest goes; what is too large is not kept, and nothing leaks."""
    splices = Splices(budget_bytes=20_000)
    first = read(splices, chat("first", "x" * 1000))
    for number in range(20):
        splices.answered(read(splices, chat(str(number), "y" * 1000)), [1] * 50)
        assert found(splices, chat("first"))  # and so it is the last that goes
        assert 0 < splices.num_bytes <= splices.budget_bytes
    assert not found(splices, chat("0")) and found(splices, chat("19"))
    splices.answered(first, [1] * 10_000)
    assert not found(splices, chat("first"))
    splices.answered(first, [1])  # it is gone, and stays so
    assert not found(splices, chat("first"))
    for _ in range(2):
        read(splices, chat("huge"), "z" * 30_000)
    assert splices.num_bytes == 0 or not found(splices, chat("huge"))
    splices.forget(FOLDER)
    assert splices.num_bytes == 0 and not found(splices, chat("19"))


def test_their_number_is_bounded_too() -> None:
    """Each is looked at when a prompt comes: 80,000 short ones took most of a second."""
    splices = Splices()
    for number in range(1100):
        read(splices, chat(str(number)))
    assert not found(splices, chat("75")) and found(splices, chat("76"))


def test_notes_are_of_the_last_prompts() -> None:
    splices = Splices()
    for number in range(50):
        folder = FOLDER if number % 2 else Path("models/b")
        splices.note(folder, number, Tokens([1, 2], spliced=Spliced(reused_tokens=number)))
    notes = splices.notes(FOLDER)
    assert [note.id for note in notes] == list(range(49, 18, -2))
    assert notes[0].prompt_tokens == 2 and notes[0].spliced.reused_tokens == 49
    splices.forget(FOLDER)
    assert splices.notes(FOLDER) == [] and splices.notes(Path("models/b"))
