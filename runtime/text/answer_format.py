"""How an answer to a prompt is to be read: what is thought, what is called, what it may say."""

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.config import Json
from runtime.requests import AnswerFormat, ChatInput, Constraint, Thinking

from .call_syntax import HERMES
from .grammar.answer import grammar_of
from .grammar.trial import Trial


def answer_format(
    form: ChatFormat, input: ChatInput, prompt: str, constraint: Constraint | None, trial: Trial
) -> AnswerFormat:
    """For the prompt that was rendered by a template of this form. Raises ConstraintRefused."""
    use = input.tool_use
    calls = (form.calls or HERMES) if use.tools and use.choice != "none" else None
    thinking = _thinking(form, input, prompt)
    parameters: dict[str, Json] = (
        {tool.name: tool.parameters for tool in use.tools} if calls else {}
    )
    # Where the prompt ends behind a thought that is over, another one would be none of the answer.
    is_over = thinking is not None and prompt.rstrip().endswith(thinking.end.strip())
    enforced = None if is_over else thinking
    return AnswerFormat(
        thinking=thinking,
        speech=form.speech,
        calls=calls,
        parameters=parameters,
        max_calls=None if use.is_parallel else 1,
        is_called=calls is not None and use.choice == "required",
        grammar=grammar_of(enforced, form.speech, calls, use, constraint, trial),
    )


def _thinking(form: ChatFormat, input: ChatInput, prompt: str) -> Thinking | None:
    if form.thinking is None:
        return None
    start, end = form.thinking
    is_open = prompt.rstrip().endswith(start.strip())
    if input.turn == "continued":  # by an answer that may think itself
        _, opened, thought = (input.messages[-1].content or "").rpartition(start)
        is_open = is_open or (bool(opened) and end not in thought)
    return Thinking(start, end, is_open)
