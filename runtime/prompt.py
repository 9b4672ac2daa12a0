"""A prompt as text workers read it, once for all answers to it; what they draw is kept for it."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from .events import Finished
from .generation import Generation
from .requests import GenerationRequest
from .splices import Entry, Splices
from .text_messages import Tokens
from .text_questions import TextQuestions


class Prompt:
    """What several answers go on from."""

    def __init__(
        self, text: TextQuestions, splices: Splices, folder: Path, request: GenerationRequest
    ) -> None:
        self._text = text
        self._splices = splices
        self._folder = folder
        self._request = request
        self._made: asyncio.Future[Tokens] = asyncio.get_running_loop().create_future()
        self._entry: Entry | None = None

    async def read(self, number: int, id: int) -> Tokens:
        """Done for the first answer; the others wait, and are cancelled where that is refused.

        `id` is what people know this answer's request by.
        """
        if number == 0:
            input, constraint = self._request.input, self._request.constraint
            known = self._splices.find(self._folder, input)
            read = await self._text.encode(self._folder, input, constraint, known)
            self._entry = self._splices.read(self._folder, input, read)
            self._made.set_result(read)
        prompt = await asyncio.shield(self._made)
        self._splices.note(self._folder, id, prompt)
        return prompt

    async def answered(self, generation: Generation, life: Awaitable[Finished]) -> Finished:
        """What was drawn is kept for the next turn, however this one ends."""
        last: list[int] = []
        try:
            finished = await life
            last = finished.tokens
            return finished
        finally:
            if self._entry is not None:
                self._splices.answered(self._entry, [*generation.drawn, *last])
