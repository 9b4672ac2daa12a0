"""A query and a document to one prompt, for language models that rank: by their chat template.

The messages are those of sentence-transformers' CrossEncoder: their roles are `query`, `document`,
and `system` for what to judge by.
"""

from collections.abc import Sequence

from .template import ChatTemplate, TemplateError
from .tokenizer import ModelTokenizer


class PairPrompt:
    """One query, asked about many documents."""

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: ModelTokenizer,
        query: str,
        instruction: str | None,
    ) -> None:
        self._template = template
        self._tokenizer = tokenizer
        asked = [] if instruction is None else [{"role": "system", "content": instruction}]
        self._messages = [*asked, {"role": "query", "content": query}]
        self._asked = query + (instruction or "")

    def tokens(self, documents: Sequence[str], max_tokens: int | None) -> list[list[int]]:
        """A prompt for each. One that is too long loses the end of its document, nothing else.

        A prompt that has no room for any of it stays as it is. Raises TemplateError.
        """
        return [self._cut(self._render(text), max_tokens) for text in documents]

    def _render(self, document: str) -> str:
        return self._template.render(
            [*self._messages, {"role": "document", "content": document}], {}
        )

    def _cut(self, prompt: str, max_tokens: int | None) -> list[int]:
        tokens = self._tokenizer.prompt(prompt)
        if max_tokens is None or len(tokens) <= max_tokens:
            return tokens
        before, after = self._frame()
        suffix = self._tokenizer.prompt(after)
        room = max_tokens - len(suffix)
        if room <= len(self._tokenizer.prompt(before)):
            return tokens
        # As Qwen3-Reranker's card does: what stands behind the document is tokenized by itself.
        return self._tokenizer.prompt(prompt[: len(prompt) - len(after)])[:room] + suffix

    def _frame(self) -> tuple[str, str]:
        """What stands before and behind a document, whatever it says."""
        mark = "\ue000"  # of no script: nobody writes it
        while mark in self._asked:
            mark += "\ue000"
        before, found, after = self._render(mark).partition(mark)
        if not found or mark in after:
            raise TemplateError("it has no one place for the document, so that cannot be cut")
        return before, after
