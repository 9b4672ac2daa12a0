"""Messages to prompt text, by the model's own chat template.

Renders as transformers does (its `render_jinja_template`), without importing it: that takes a
second and 60 MB. Tests hold both equal.
"""

import contextlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import jinja2
from jinja2 import meta

from registry.checkpoint import chat_template
from registry.checkpoint.tokenizer import special_tokens

from .sandbox import Raised, Sandbox

MAX_TEMPLATE_CHARS = 256 << 10
MAX_PROMPT_CHARS = 32 << 20


class TemplateError(Exception):
    """The template could not be read or rendered; the message is for the caller."""

    def __init__(self, message: str, *, is_own: bool = False) -> None:
        """`is_own`: it is what the template itself says of the messages."""
        super().__init__(message)
        self.is_own = is_own


class ChatTemplate(Protocol):
    """One model's template."""

    names: frozenset[str]  # what it reads of the options
    source: str  # in Jinja; empty where it is none

    def render(
        self,
        messages: list[dict[str, Any]],
        options: dict[str, Any],
        *,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt, up to where the assistant begins. Raises TemplateError."""
        ...


def template_of(folder: Path) -> ChatTemplate:
    """The template of a model folder. Raises TemplateError, NotAModel or OSError."""
    if (path := chat_template.find_python(folder)) is not None:
        return PythonTemplate(path)
    if (source := chat_template.find(folder)) is not None:
        return JinjaTemplate(source, _tokens(folder))
    raise TemplateError("the model has no chat template, so it cannot chat")


def tool_template_of(folder: Path) -> ChatTemplate | None:
    """The one for conversations with tools, of a folder that has several. Raises as above."""
    if chat_template.find_python(folder) is not None:
        return None
    source = chat_template.find_for_tools(folder)
    return None if source is None else JinjaTemplate(source, _tokens(folder))


def _tokens(folder: Path) -> dict[str, str | list[str]]:
    """Special tokens by their roles; and those without one, as transformers 4 gave them.

    GigaChat's template reads its turns' ends there.
    """
    tokens = special_tokens.read(folder)
    named = {role: token.content for role, token in tokens.named.items()}
    return {"additional_special_tokens": [token.content for token in tokens.extra], **named}


class JinjaTemplate:
    """A template of the model's own, compiled once."""

    def __init__(self, source: str, special_tokens: Mapping[str, str | list[str]]) -> None:
        """Raises TemplateError when the source is too long or no valid Jinja."""
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateError(f"the chat template is longer than {MAX_TEMPLATE_CHARS} characters")
        self.source = source
        self._special_tokens = special_tokens
        self._sandbox = Sandbox()
        try:
            self._template = self._sandbox.from_string(source)
            names = meta.find_undeclared_variables(self._sandbox.parse(source))
        except (jinja2.TemplateError, RecursionError) as error:
            raise TemplateError(f"the chat template is not valid: {error}") from error
        self.names = frozenset(names - special_tokens.keys() - self._sandbox.globals.keys())

    def render(
        self,
        messages: list[dict[str, Any]],
        options: dict[str, Any],
        *,
        add_generation_prompt: bool = True,
    ) -> str:
        variables = {
            **self._special_tokens,
            **{"tools": None, "documents": None},
            **options,
            "messages": [_with_reasoning(message) for message in messages],
            "add_generation_prompt": add_generation_prompt,
        }
        self._sandbox.give(variables)
        return _rendered(self._template.render, **variables)


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its reasoning under the other name too: gpt-oss reads `thinking`."""
    reasoning = message.get("reasoning_content")
    return message if reasoning is None else {"thinking": reasoning, **message}


class PythonTemplate:
    """A template that mlx-lm has in Python, for models that bring none in Jinja."""

    def __init__(self, path: Path) -> None:
        """`path` is a module of mlx-lm. It is run without the package, which would import MLX."""
        spec = importlib.util.spec_from_file_location(f"mlx_lm_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise TemplateError(f"mlx-lm's template {path.stem} cannot be read")
        module = importlib.util.module_from_spec(spec)
        with _without_transformers():
            spec.loader.exec_module(module)
        self._apply: Callable[..., str] = module.apply_chat_template
        self.names: frozenset[str] = frozenset()
        self.source = ""

    def render(
        self,
        messages: list[dict[str, Any]],
        options: dict[str, Any],
        *,
        add_generation_prompt: bool = True,
    ) -> str:
        variables = {"messages": messages, "add_generation_prompt": add_generation_prompt}
        return _rendered(self._apply, **options | variables)


@contextlib.contextmanager
def _without_transformers() -> Iterator[None]:
    """The template imports one function of it, for tools that are Python code: no request has any.

    The package would take a second, most of the time that a job has.
    """
    name = "transformers.utils.chat_template_utils"
    if name in sys.modules:
        yield
        return
    stand_in = types.ModuleType(name)
    stand_in.get_json_schema = None  # type: ignore[attr-defined]
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]


def _rendered(render: Callable[..., str], **variables: Any) -> str:
    try:
        text = render(**variables)
    except RecursionError as error:
        raise TemplateError("the chat template calls itself without end") from error
    except MemoryError as error:
        raise TemplateError("the chat template needs too much memory") from error
    except Raised as error:
        raise TemplateError(str(error), is_own=True) from error
    except Exception as error:  # a template can raise anything that Python code can
        raise TemplateError(str(error) or type(error).__name__) from error
    if len(text) > MAX_PROMPT_CHARS:
        raise TemplateError(f"the prompt is longer than {MAX_PROMPT_CHARS} characters")
    return text
