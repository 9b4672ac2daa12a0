"""Texts to the tokens that an engine encodes; `pool` does this before a model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.checkpoint.encoder import EncoderConfig
from registry.checkpoint.kind import ENCODER_TYPES, ModelKind, kind_of
from registry.checkpoint.model import Model

from .errors import InputTooLong, InvalidRequest, LoadFailed
from .requests import EmbeddingRequest, RerankRequest
from .text_questions import TextQuestions

# No text has tokens as long as this on average: what is longer is not even tokenized.
_MAX_CHARS_PER_TOKEN = 64
_DUTIES: dict[ModelKind, str] = {
    "llm": "generates text",
    "embed": "makes embeddings",
    "rerank": "ranks documents",
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """The inputs as tokens, special ones included."""

    inputs: list[list[int]]
    first_lengths: list[int]
    dimensions: int | None = None

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.inputs))


def check_kind(model: Model, wanted: ModelKind) -> None:
    """Raises InvalidRequest for a model that does something else; LoadFailed for a damaged one."""
    try:
        kind = kind_of(model)
    except (OSError, ValueError) as error:
        raise LoadFailed(f"Model '{model.id}' cannot be used: {error}") from error
    if kind != wanted:
        raise InvalidRequest(
            f"Model '{model.id}' {_DUTIES[kind]}; this needs one that {_DUTIES[wanted]}.", "model"
        )


async def embedding(request: EmbeddingRequest, model: Model, questions: TextQuestions) -> Encoding:
    """What to encode for this request. Raises InvalidRequest, InputTooLong, LoadFailed."""
    config = _config(model, "embed")
    try:
        config.check_dimensions(request.dimensions)
    except ValueError as error:
        raise InvalidRequest(str(error), "dimensions") from None
    if not request.inputs or not all(request.inputs):
        raise InvalidRequest("input is empty, or holds an empty text; send some.", "input")
    texts = {i: text for i, text in enumerate(request.inputs) if isinstance(text, str)}
    if request.prompt is not None and len(texts) < len(request.inputs):
        raise InvalidRequest("A prompt cannot be set before tokens; send texts.", "prompt")
    prompt = config.prompt(request.prompt)
    inputs = [list(entry) if isinstance(entry, tuple) else [] for entry in request.inputs]
    limit = config.max_input_tokens
    if texts:
        prompted = {index: prompt + text for index, text in texts.items()}
        readable = _readable(prompted, limit, "input", truncate=request.truncate)
        cut = limit if request.truncate else None
        encoded = await questions.encode_texts(model.folder, readable, max_tokens=cut)
        for index, tokens in zip(texts, encoded.inputs, strict=True):
            inputs[index] = tokens
    if request.truncate:
        inputs = [tokens[:limit] for tokens in inputs]
    raw = {i: inputs[i] for i in range(len(inputs)) if i not in texts}
    _check_tokens(raw, model.vocab_size)
    _check_lengths(inputs, limit, "input")
    is_cut = request.dimensions not in (None, config.num_dimensions)
    return Encoding(inputs, [], request.dimensions if is_cut else None)


async def reranking(request: RerankRequest, model: Model, questions: TextQuestions) -> Encoding:
    """What to encode for this request. Raises as `embedding` does."""
    config = _config(model, "rerank")
    for name in ("query", "documents"):
        if not getattr(request, name):
            raise InvalidRequest(f"{name} is empty.", name)
    limit, truncate = config.max_input_tokens, request.truncate
    _readable({0: request.query}, limit, "query", truncate=False)
    documents = dict(enumerate(request.documents))
    readable = _readable(documents, limit, "documents", truncate=truncate)
    if model.model_type not in ENCODER_TYPES:
        cut = limit if truncate else None
        return await _prompts(request, readable, model, config, questions, cut)
    if request.instruction is not None:
        raise InvalidRequest(
            f"Model '{model.id}' is not asked in words: it takes no instruction.", "instruction"
        )
    try:
        encoded = await questions.encode_texts(
            model.folder, readable, query=request.query, max_tokens=limit if truncate else None
        )
        _check_lengths(encoded.inputs, limit, "documents")
    except InvalidRequest:  # if it is the query that leaves no room, say so
        alone = await questions.encode_texts(model.folder, (request.query,))
        _check_lengths(alone.inputs, limit - 1, "query")
        raise
    return Encoding(encoded.inputs, encoded.first_lengths)


async def _prompts(
    request: RerankRequest,
    documents: tuple[str, ...],
    model: Model,
    config: EncoderConfig,
    questions: TextQuestions,
    max_tokens: int | None,
) -> Encoding:
    """Each document in a prompt with the query, for a language model that ranks."""
    instruction = config.prompt(request.instruction) or None

    async def encode(texts: tuple[str, ...]) -> list[list[int]]:
        encoded = await questions.encode_pairs(
            model.folder, request.query, texts, instruction=instruction, max_tokens=max_tokens
        )
        return encoded.inputs

    inputs, limit = await encode(documents), config.max_input_tokens
    try:
        _check_lengths(inputs, limit, "documents")
    except InvalidRequest:  # if it is the query that leaves no room, say so
        _check_lengths(await encode(("",)), limit - 1, "query")
        raise
    return Encoding(inputs, [])


def _config(model: Model, wanted: ModelKind) -> EncoderConfig:
    check_kind(model, wanted)
    try:
        return EncoderConfig.of(model)
    except (OSError, ValueError) as error:
        raise LoadFailed(f"Model '{model.id}' cannot be used: {error}") from error


def _readable(texts: dict[int, str], limit: int, param: str, *, truncate: bool) -> tuple[str, ...]:
    """The texts. Raises InputTooLong for one that could never fit, or with `truncate` cuts it."""
    most = _MAX_CHARS_PER_TOKEN * limit
    for index, text in texts.items():
        if len(text) > most and not truncate:
            num_tokens = len(text) // _MAX_CHARS_PER_TOKEN
            raise InputTooLong(param, index, num_tokens, limit, at_least=True)
    return tuple(text[:most] for text in texts.values())


def _check_lengths(inputs: Sequence[Sequence[int]], limit: int, param: str) -> None:
    for index, tokens in enumerate(inputs):
        if not tokens:  # an empty text, without special tokens
            raise InvalidRequest(f"Number {index} of '{param}', counted from 0, is empty.", param)
        if len(tokens) > limit:
            raise InputTooLong(param, index, len(tokens), limit)


def _check_tokens(inputs: dict[int, list[int]], vocab_size: int | None) -> None:
    for index, tokens in inputs.items():
        if vocab_size is not None and not 0 <= min(tokens) <= max(tokens) < vocab_size:
            raise InvalidRequest(
                f"Number {index} of 'input', counted from 0, has a token that is none of the "
                f"model's: they go from 0 to {vocab_size - 1}.",
                "input",
            )
