"""Messages to prompt text, by the model's own chat template.

Renders as transformers does (its `render_jinja_template`), without importing it: that takes a
second and 60 MB. Tests hold both equal.
"""

import contextlib
import datetime
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from registry.checkpoint import chat_template
from registry.checkpoint.tokenizer import special_tokens

MAX_TEMPLATE_CHARS = 256 << 10
MAX_PROMPT_CHARS = 32 << 20


class TemplateError(Exception):
    """The template could not be read or rendered; the message is for the caller."""


class ChatTemplate(Protocol):
    """One model's template."""

    def render(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> str:
        """The prompt, up to where the assistant begins. Raises TemplateError."""
        ...


def template_of(folder: Path) -> ChatTemplate:
    """The template of a model folder. Raises TemplateError, NotAModel or OSError."""
    if (path := chat_template.find_python(folder)) is not None:
        return PythonTemplate(path)
    if (source := chat_template.find(folder)) is not None:
        return JinjaTemplate(source, special_tokens.texts(folder))
    raise TemplateError("the model has no chat template, so it cannot chat")


class JinjaTemplate:
    """A template of the model's own, compiled once."""

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        """Raises TemplateError when the source is too long or no valid Jinja."""
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateError(f"the chat template is longer than {MAX_TEMPLATE_CHARS} characters")
        self._special_tokens = special_tokens
        try:
            self._template = _environment().from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise TemplateError(f"the chat template is not valid: {error}") from error

    def render(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> str:
        return _rendered(
            self._template.render,
            **self._special_tokens
            | options
            | {"messages": messages, "tools": None, "add_generation_prompt": True},
        )


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

    def render(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> str:
        return _rendered(
            self._apply, **options | {"messages": messages, "add_generation_prompt": True}
        )


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
    except Exception as error:  # a template can raise anything that Python code can
        raise TemplateError(str(error) or type(error).__name__) from error
    if len(text) > MAX_PROMPT_CHARS:
        raise TemplateError(f"the prompt is longer than {MAX_PROMPT_CHARS} characters")
    return text


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's text for training; a prompt ignores it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes for HTML, which no model has learned to read.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)
