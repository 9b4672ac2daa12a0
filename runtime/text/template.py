"""Messages to prompt text, by the model's own chat template.

Renders as transformers does (its `render_jinja_template`), without importing it: that takes a
second and 60 MB. Tests hold both equal.
"""

import datetime
import json
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from registry.checkpoint.tokenizer import special_tokens

MAX_TEMPLATE_CHARS = 256 << 10
MAX_PROMPT_CHARS = 32 << 20


class TemplateError(Exception):
    """The template could not be read or rendered; the message is for the caller."""


class ChatTemplate:
    """One model's template, compiled once."""

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        """Raises TemplateError when the source is too long or no valid Jinja."""
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateError(f"the chat template is longer than {MAX_TEMPLATE_CHARS} characters")
        self._special_tokens = special_tokens
        try:
            self._template = _environment().from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise TemplateError(f"the chat template is not valid: {error}") from error

    @classmethod
    def of(cls, folder: Path) -> "ChatTemplate":
        """The template of a model folder: chat_template.jinja, or in tokenizer_config.json."""
        config: dict[str, Any] = {}
        if (path := folder / "tokenizer_config.json").exists():
            config = json.loads(path.read_bytes())
        if (path := folder / "chat_template.jinja").exists():
            source = path.read_text()
        else:
            source = _default(config.get("chat_template"))
        return cls(source, special_tokens.texts(folder))

    def render(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> str:
        """The prompt, up to where the assistant begins. Raises TemplateError."""
        try:
            text = self._template.render(
                **self._special_tokens
                | options
                | {"messages": messages, "tools": None, "add_generation_prompt": True}
            )
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


def _default(template: Any) -> str:
    """The template itself, or the one named "default" of several."""
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default")
    if not isinstance(template, str):
        raise TemplateError("the model has no chat template, so it cannot chat")
    return template
