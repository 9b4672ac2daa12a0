"""What the web layer asks of a model, and what it is given when that is no stream of events."""

import secrets
from typing import Literal, TypeAlias

import msgspec

from registry.checkpoint.call_syntax import CallSyntax, Speech
from registry.checkpoint.config import Json
from registry.checkpoint.sampling import SamplingDefaults

# How a prompt ends: where the assistant begins; behind the last words of the assistant's, which is
# gone on with; or behind the last message, and nothing is added.
Turn: TypeAlias = Literal["new", "continued", "none"]
# Who goes first: somebody waits for an interactive answer; a background one gets what is left.
Priority: TypeAlias = Literal["interactive", "background"]


class SamplingParams(msgspec.Struct, frozen=True):
    """How the tokens of one request are drawn: complete, as the engine takes it."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    max_tokens: int | None = None  # None: what is left of the context
    stop: tuple[str, ...] = ()
    seed: int = 0  # with a token's position it is all that chance depends on
    top_k: int = 0  # 0: all
    min_p: float = 0.0  # of the heaviest token's probability
    presence_penalty: float = 0.0  # of tokens that were drawn
    frequency_penalty: float = 0.0  # for each time
    repetition_penalty: float = 1.0  # of tokens that were drawn or stand in the prompt
    logit_bias: dict[int, float] = {}
    logprobs: int | None = None  # how many alternatives are told with each token; None: nothing
    min_tokens: int = 0  # that are drawn before anything may end the answer but its length
    stop_token_ids: tuple[int, ...] = ()  # as ends of the answer, beside the model's own
    ignore_eos: bool = False  # the model's own end nothing
    loop_guard: bool = False  # an answer that only repeats itself is ended
    prompt_logprobs: int | None = None  # as logprobs, of the prompt's tokens


class SamplingRequest(msgspec.Struct, frozen=True):
    """How one request wants its tokens drawn; None leaves it to the model.

    Ranges are checked at the door (`web.api.schema`).
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[int, float] = {}
    logprobs: int | None = None
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    loop_guard: bool = False
    prompt_logprobs: int | None = None

    def completed(self, defaults: SamplingDefaults, number: int = 0) -> SamplingParams:
        """What is said as it is said, and the model's own where nothing is; a seed is drawn.

        `number` tells several answers to one prompt apart: with one seed they differ, and repeat.
        """
        own = defaults.values()
        said = {name: getattr(self, name) for name in self.__struct_fields__}
        complete = own | {name: value for name, value in said.items() if value is not None}
        complete["seed"] = secrets.randbits(63) if self.seed is None else _nth(self.seed, number)
        return SamplingParams(**complete)


def _nth(seed: int, number: int) -> int:
    """The seed of one of several answers: 64 bits, signed."""
    return (seed + number + 2**63) % 2**64 - 2**63


class Thinking(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a model sets apart what it thinks before it answers."""

    start: str
    end: str
    is_open: bool = False  # the prompt ends inside


class AnswerFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an answer is to be read, and what it may say: made with its prompt."""

    thinking: Thinking | None = None
    speech: Speech | None = None  # around what is neither thought nor called
    max_reasoning_tokens: int | None = None
    calls: CallSyntax | None = None  # None: text that looks like a call is text
    parameters: dict[str, Json] = {}  # of each function, as JSON Schema
    max_calls: int | None = None  # the next one would end the answer
    is_called: bool = False  # nothing is said: what is no call is the beginning of one
    grammar: str | None = None  # llguidance's, of the whole answer with its markers


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Json] = {}  # JSON Schema
    strict: bool = False


class ToolUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The functions of a request, and which of them is to be called."""

    tools: tuple[Tool, ...] = ()
    choice: Literal["none", "auto", "required"] = "auto"
    name: str | None = None  # with "required": this one
    is_parallel: bool = True  # several calls in one answer


ConstraintKind: TypeAlias = Literal["json_object", "json_schema", "regex", "choice", "lark", "gbnf"]


class Constraint(msgspec.Struct, frozen=True):
    """What the text of an answer has to be."""

    kind: ConstraintKind
    value: Json = None  # a schema, a pattern, a list of texts, a grammar
    param: str = "response_format"  # of the request, for what is said of it


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation, as chat templates read it."""

    role: str
    content: str | None = None
    name: str | None = None
    tool_calls: list[dict[str, Json]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    prefix: bool = False  # Mistral's and DeepSeek's word for a last answer to go on with


class ChatInput(msgspec.Struct, frozen=True, tag=True):
    """A conversation, which the model's chat template makes a prompt of."""

    messages: tuple[ChatMessage, ...]
    options: dict[str, Json] = {}  # of the template
    turn: Turn = "new"
    tool_use: ToolUse = ToolUse()
    param: str = "messages"  # of the request, for what is said of it


class TextInput(msgspec.Struct, frozen=True, tag=True):
    """What the model goes on with as it is: a text, or tokens."""

    text: str | tuple[int, ...]
    suffix: str | None = None  # what stands behind the answer, for models that fill in
    adds_special: bool = True  # the tokens that the tokenizer sets around a text


Input: TypeAlias = ChatInput | TextInput


class GenerationRequest(msgspec.Struct, frozen=True):
    """What the web layer asks of the pool: what is to be answered, and how."""

    input: Input
    sampling: SamplingRequest = SamplingRequest()
    num_answers: int = 1
    constraint: Constraint | None = None
    max_reasoning_tokens: int | None = None
    keep_alive_s: float | None = None  # None: the pool's default; inf: for ever
    priority: Priority = "interactive"
    max_ttft_s: float | None = None  # refuse at once what will have no first token by then


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """What the web layer asks of an embedding model: texts, or tokens that stand as they are."""

    inputs: tuple[str | tuple[int, ...], ...]
    prompt: str | None = None  # set before each text; or the name of one that the model brings
    dimensions: int | None = None  # None: all of the model's
    truncate: bool = False  # read the beginning of an over-long text instead of refusing it
    keep_alive_s: float | None = None  # None: the pool's default; inf: for ever
    priority: Priority = "interactive"


class Embeddings(msgspec.Struct, frozen=True):
    """One vector per input, in their order: float32, little-endian, row after row."""

    vectors: bytes
    num_dimensions: int
    prompt_tokens: int


class RerankRequest(msgspec.Struct, frozen=True):
    """What the web layer asks of a reranker: how well each document answers the query."""

    query: str
    documents: tuple[str, ...]
    truncate: bool = False  # of the documents: the query is never cut
    keep_alive_s: float | None = None
    instruction: str | None = None  # what to judge by, for a model that is asked in words
    priority: Priority = "interactive"


class Scores(msgspec.Struct, frozen=True):
    """One score per document, in their order, from 0 (irrelevant) to 1."""

    scores: tuple[float, ...]
    prompt_tokens: int
