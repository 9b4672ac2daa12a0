"""What text workers are asked, and what a request is told where they refuse or take too long."""

from collections.abc import Sequence
from pathlib import Path

from registry.checkpoint.chat_format import ChatFormat

from .context import num_chars_of
from .errors import InvalidRequest, TemplateFailed, TextRefused, Unavailable
from .requests import ChatInput, Constraint, Input
from .text_messages import (
    Decode,
    Decoded,
    Described,
    DescribeTemplate,
    EncodePairs,
    EncodePrompt,
    EncodeTexts,
    Known,
    Refusal,
    Reply,
    Texts,
    Tokens,
)
from .text_workers import TextWorkers


class TextQuestions:
    """Each is asked of a model's folder, and answered by whichever worker has its turn."""

    def __init__(self, workers: TextWorkers) -> None:
        self._workers = workers

    async def encode(
        self,
        folder: Path,
        input: Input,
        constraint: Constraint | None = None,
        known: Sequence[Known] = (),
    ) -> Tokens:
        """The prompt, and what its answer looks like; tokens of what is known stay what they are.

        Raises InvalidRequest, for a conversation TemplateFailed; Unavailable when no worker is to
        be had.
        """
        num_chars = num_chars_of(input)
        limit_s = self._workers.deadline_s(folder, num_chars)
        try:
            job = EncodePrompt(str(folder), input, constraint, limit_s, list(known))
            reply = await self._workers.do(job, num_chars)
        except TimeoutError:
            if constraint is not None:
                raise InvalidRequest(
                    f"Reading the request took longer than {limit_s:.0f} s, so it was stopped: "
                    "that is this constraint, or the model's chat template.",
                    constraint.param,
                ) from None
            raise _refused(
                input, f"Reading the request took longer than {limit_s:.0f} s, so it was stopped: "
                "that is the model's chat template, or the schemas of the tools."
            ) from None  # fmt: skip
        if isinstance(reply, Tokens):
            return reply
        if isinstance(reply, Refusal) and reply.param is not None:
            raise InvalidRequest(reply.message, reply.param)
        raise _refused(input, _message(reply))

    async def decode(self, folder: Path, tokens: tuple[int, ...]) -> Decoded:
        """The text of tokens, and the word of each. Raises TextRefused, and as `encode` does."""
        try:
            job = Decode(str(folder), tokens, self._workers.deadline_s(folder, len(tokens)))
            reply = await self._workers.do(job, len(tokens))
        except TimeoutError:
            raise TextRefused("The tokens took too long to be read.", "tokens") from None
        if isinstance(reply, Decoded):
            return reply
        raise TextRefused(_message(reply), "tokens")

    async def describe_template(self, folder: Path) -> ChatFormat | None:
        """What the model's template takes; None where that cannot be found out now."""
        job = DescribeTemplate(str(folder), self._workers.deadline_s(folder, 0))
        try:
            reply = await self._workers.do(job, 0)
        except (TimeoutError, Unavailable):
            return None
        return reply.form if isinstance(reply, Described) else None

    async def encode_texts(
        self,
        folder: Path,
        texts: tuple[str, ...],
        *,
        query: str | None = None,
        max_tokens: int | None = None,
    ) -> Texts:
        """Each text's tokens with special ones, alone or as a pair with the query.

        `max_tokens` cuts longer ones. Raises TextRefused; Unavailable as `encode` does.
        """
        param = "input" if query is None else "documents"
        num_chars = sum(map(len, texts)) + len(query or "") * len(texts)
        limit_s = self._workers.deadline_s(folder, num_chars)
        job = EncodeTexts(str(folder), texts, query, max_tokens, limit_s)
        return await self._texts(job, num_chars, param)

    async def encode_pairs(
        self,
        folder: Path,
        query: str,
        documents: tuple[str, ...],
        *,
        instruction: str | None = None,
        max_tokens: int | None = None,
    ) -> Texts:
        """A prompt's tokens for each document, by the template of a model that ranks.

        `max_tokens` cuts the documents of longer ones. Raises as `encode_texts` does.
        """
        around = len(query) + len(instruction or "")
        num_chars = sum(len(document) + around for document in documents)
        limit_s = self._workers.deadline_s(folder, num_chars)
        job = EncodePairs(str(folder), query, documents, instruction, max_tokens, limit_s)
        return await self._texts(job, num_chars, "documents")

    async def _texts(self, job: EncodeTexts | EncodePairs, num_chars: int, param: str) -> Texts:
        try:
            reply = await self._workers.do(job, num_chars)
        except TimeoutError:
            raise TextRefused(
                f"The model's tokenizer took longer than {job.deadline_s:.0f} s for these texts, "
                "so it was stopped.",
                param,
            ) from None
        if isinstance(reply, Texts):
            return reply
        raise TextRefused(_message(reply), param)


def _refused(input: Input, message: str) -> InvalidRequest:
    if isinstance(input, ChatInput):
        return TemplateFailed(message, input.param)
    return TextRefused(message, "prompt")


def _message(reply: Reply) -> str:
    return reply.message if isinstance(reply, Refusal) else "The reply was for something else."
