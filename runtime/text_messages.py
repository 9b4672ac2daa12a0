"""What the web process and a text worker say to each other, as msgpack frames."""

from typing import Literal, TypeAlias

import msgspec

from registry.checkpoint.chat_format import ChatFormat

from .requests import AnswerFormat, Constraint, Input


class Reading(msgspec.Struct, frozen=True):
    """How a prompt was read, for the next one to go on from. Numbers are arrays of "I"."""

    stamp: tuple[int, ...]  # of the files of template and tokenizer
    text: str
    marks: bytes  # characters and tokens before each place where every text is cut
    drawn: list[tuple[int, int]]  # stretches of tokens that a model drew
    borders: list[tuple[int, int]]  # characters and tokens before what others say otherwise


class Known(msgspec.Struct, frozen=True):
    """A prompt that was read, and the answers that were drawn behind it."""

    reading: Reading
    tokens: bytes  # array of "I"
    answers: list[bytes]


class EncodePrompt(msgspec.Struct, frozen=True, tag=True):
    """What a model of this folder reads, and how its answer is to be read."""

    folder: str
    input: Input
    constraint: Constraint | None
    deadline_s: float
    known: list[Known] = []  # similar prompts: tokens of one of them are taken over


class DescribeTemplate(msgspec.Struct, frozen=True, tag=True):
    """What the folder's template takes."""

    folder: str
    deadline_s: float


class EncodeTexts(msgspec.Struct, frozen=True, tag=True):
    """Tokenize each text by itself, with the special tokens that the tokenizer adds."""

    folder: str
    texts: tuple[str, ...]
    query: str | None  # each text as the second half of a pair with this
    max_tokens: int | None  # cut longer texts down to it; never the query
    deadline_s: float


class EncodePairs(msgspec.Struct, frozen=True, tag=True):
    """A prompt for each document and the query, by the template of a model that ranks."""

    folder: str
    query: str
    documents: tuple[str, ...]
    instruction: str | None  # what to judge by; None: as the template says
    max_tokens: int | None  # cut the documents of longer prompts, nothing else
    deadline_s: float


class Decode(msgspec.Struct, frozen=True, tag=True):
    """The text of tokens, special ones among them; and the vocabulary's word for each."""

    folder: str
    tokens: tuple[int, ...]
    deadline_s: float


Job: TypeAlias = EncodePrompt | Decode | DescribeTemplate | EncodeTexts | EncodePairs


# Where it went no further. "": all of it is there. "new": nothing was known. Else the prompt says
# something else: of a "thought" or a "call" of a function, in "white_space", or in other ways.
Stop: TypeAlias = Literal["", "new", "thought", "call", "white_space", "differs"]


class Spliced(msgspec.Struct, frozen=True):
    """What a prompt took over of one that was known, and what stands where it went no further."""

    known_tokens: int = 0  # of that prompt and its answer
    reused_tokens: int = 0
    drawn_tokens: int = 0  # of its answer
    reused_drawn_tokens: int = 0
    stopped: Stop = "new"
    before: str = ""
    known: str = ""
    asked: str = ""


class Tokens(msgspec.Struct, frozen=True, tag=True):
    """The prompt."""

    tokens: list[int]
    call_ids: dict[str, str] = {}  # of tool calls, as they stand there -> the client's
    form: AnswerFormat = AnswerFormat()  # of the answer
    borders: list[int] = []  # how many tokens stand before what others say otherwise
    reading: Reading | None = None  # of a text
    spliced: Spliced | None = None  # of a text


class Texts(msgspec.Struct, frozen=True, tag=True):
    """The texts, in their order."""

    inputs: list[list[int]]
    first_lengths: list[int]  # tokens of each pair's first half; empty without a query


class Described(msgspec.Struct, frozen=True, tag=True):
    """What the template takes."""

    form: ChatFormat


class Decoded(msgspec.Struct, frozen=True, tag=True):
    """The text, and the word of each token."""

    text: str
    words: list[str]


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """It cannot be done, for the reason given."""

    message: str
    param: str | None = None  # of the request, where it is not the messages or texts


Reply: TypeAlias = Tokens | Decoded | Texts | Described | Refusal
