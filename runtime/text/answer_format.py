"""How an answer to a prompt is to be read: what is thought, what is called, what it may say."""

from registry.checkpoint.config import Json
from runtime.requests import AnswerFormat, ChatInput, Constraint, Thinking

from .grammar import grammar_of
from .prompt import ChatPrompt


def answer_format(
    chat: ChatPrompt, input: ChatInput, prompt: str, constraint: Constraint | None
) -> AnswerFormat:
    """For the prompt that was rendered. Raises ConstraintRefused."""
    thinking: Thinking | None = None
    use, calls = input.tool_use, None
    grammar = grammar_of(thinking, calls, use, constraint)
    parameters: dict[str, Json] = (
        {tool.name: tool.parameters for tool in use.tools} if calls else {}
    )
    return AnswerFormat(thinking=thinking, calls=calls, parameters=parameters, grammar=grammar)
