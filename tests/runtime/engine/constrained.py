"""Answers of a random-weight model under grammars: nothing but the grammar makes them right."""

import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.checkpoint.call_syntax import CallSyntax, Speech
from runtime.engine.loader import LoadedModel, load
from runtime.engine.loop import EngineLoop
from runtime.engine_messages import Generate, Report, Step, Stop
from runtime.events import Failed, Finished, ReasoningDelta, TextDelta, ToolCallDelta
from runtime.requests import AnswerFormat, Constraint, SamplingParams, Thinking, ToolUse
from runtime.text.grammar.answer import grammar_of
from runtime.text.tokenizer import ModelTokenizer
from tests.models.tiny_models import make_llama

_NO_TOOLS, _PLAIN = ToolUse(), SamplingParams()


@dataclass
class Answer:
    text: str = ""
    thought: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)  # names and arguments
    tokens: tuple[int, ...] = ()
    reason: str = ""  # why it ended, or what failed
    num_reasoning: int = 0


class RandomModel:
    """Answers many prompts in one batch."""

    def __init__(self, folder: Path, **overrides: Any) -> None:
        make_llama(folder, **overrides)
        self.loaded: LoadedModel = load(folder, lambda done, total: None)
        self.tokenizer = ModelTokenizer(folder)

    def grammar(
        self,
        constraint: Constraint | None = None,
        *,
        thinking: Thinking | None = None,
        speech: Speech | None = None,
        calls: CallSyntax | None = None,
        use: ToolUse = _NO_TOOLS,
    ) -> str | None:
        return grammar_of(thinking, speech, calls, use, constraint, self.tokenizer.trial)

    def form(self, kind: Any, value: Any = None, **options: Any) -> AnswerFormat:
        return AnswerFormat(grammar=self.grammar(Constraint(kind, value), **options))

    def answers(
        self,
        forms: Sequence[AnswerFormat],
        *,
        max_tokens: int = 300,
        sampling: SamplingParams = _PLAIN,
        numbers: Sequence[int] | None = None,
        drawn: Sequence[Sequence[int]] = (),
    ) -> list[Answer]:
        """A number stands for a seed and a prompt; each form has its own, where none are named.
        `drawn` is what each drew before."""
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        answers = [Answer() for _ in forms]
        left = len(forms)

        def send(report: Report) -> None:
            nonlocal left
            for event in report.events if isinstance(report, Step) else ():
                answer = answers[event.id]
                match event:
                    case TextDelta():
                        answer.text += event.text
                    case ReasoningDelta():
                        answer.thought += event.text
                    case ToolCallDelta():
                        if event.index == len(answer.calls):
                            answer.calls.append((event.name, ""))
                        name, arguments = answer.calls[event.index]
                        answer.calls[event.index] = name, arguments + event.arguments
                    case Finished():
                        answer.reason = event.reason
                        answer.num_reasoning = event.usage.reasoning_tokens
                    case Failed():
                        answer.reason = event.message
                answer.tokens += tuple(getattr(event, "tokens", ()))
                left -= isinstance(event, Finished | Failed)
            if not left:
                inbox.put(Stop())

        loop = EngineLoop(self.loaded, inbox, send, prefill_chunk_tokens=512)
        for at, form in enumerate(forms):
            number = numbers[at] if numbers is not None else at
            values = {name: getattr(sampling, name) for name in sampling.__struct_fields__}
            params = SamplingParams(**values | {"max_tokens": max_tokens, "seed": number})
            prompt = [5, 6, 7 + number % 400]
            before = list(drawn[at]) if drawn else []
            inbox.put(Generate(at, prompt, params, before, form=form))
        loop.run()
        return answers
