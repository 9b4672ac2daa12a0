"""Rows in the engine's own loop, without a process: what each of them is told."""

import queue
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from runtime.engine.language_model import LanguageModel
from runtime.engine.loader import LoadedModel
from runtime.engine.loop import Compiled, EngineLoop, Woken
from runtime.engine_messages import Cancel, Command, Generate, Report, Step, Stop
from runtime.events import (
    Failed,
    Finished,
    FinishReason,
    PromptScores,
    ReasoningDelta,
    Score,
    TextDelta,
    ToolCallDelta,
)


@dataclass
class Answer:
    """All that is told of one row."""

    tokens: list[int] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    text: str = ""
    thought: str = ""
    called: str = ""
    reason: FinishReason | None = None
    prompt: PromptScores | None = None

    def note(self, event: Any) -> None:
        assert not isinstance(event, Failed), event
        if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta | Finished):
            self.tokens += event.tokens
            self.scores += event.scores
        if isinstance(event, PromptScores):
            assert self.prompt is None and not self.tokens
            self.prompt = event
        if isinstance(event, TextDelta):
            self.text += event.text
        if isinstance(event, ToolCallDelta):
            self.called += event.name + event.arguments
        if isinstance(event, ReasoningDelta):
            self.thought += event.text
        if isinstance(event, Finished):
            self.reason = event.reason


class Noisy:
    """A model whose logits are off; if not said, by a hundred times what rounding can do."""

    def __init__(self, model: LanguageModel, noise: float = 1e-4) -> None:
        self._model = model
        self._noise = noise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, inputs: mx.array, cache: Any) -> mx.array:
        logits: mx.array = self._model(inputs, cache=cache)
        return logits + mx.random.uniform(-self._noise, self._noise, logits.shape)


def answers(
    loaded: LoadedModel, asked: Sequence[Generate], every: int = 0, cancelled: int | None = None
) -> dict[int, Answer]:
    """What each is told where one more comes `every` so many steps; one leaves half way."""
    told = {command.id: Answer() for command in asked}
    inbox: queue.SimpleQueue[Command | Compiled | Woken] = queue.SimpleQueue()
    coming, running = deque(asked), set[int]()
    num_steps = 0

    def begin() -> None:
        running.add(coming[0].id)
        inbox.put(coming.popleft())

    def send(report: Report) -> None:
        nonlocal num_steps
        assert isinstance(report, Step)
        num_steps += 1
        for event in report.events:
            told[event.id].note(event)
            if isinstance(event, Finished):
                running.discard(event.id)
        if cancelled in running and len(told[cancelled].tokens) >= 7:
            running.discard(cancelled)
            inbox.put(Cancel(cancelled))
        while coming and (not running or num_steps >= every * (len(asked) - len(coming))):
            begin()
        if not coming and not running:
            inbox.put(Stop())

    begin()
    EngineLoop(loaded, inbox, send, prefill_chunk_tokens=48).run()
    return told
