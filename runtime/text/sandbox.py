"""The Jinja that chat templates are written in, as transformers has it, and what they may not do.

Templates come from strangers. They reach no attribute that leads out of the sandbox, and change
nothing that they were given; lists and objects of their own they may change, as Kimi-K2's does.
"""

import datetime
import json
from collections.abc import Iterator
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.sandbox import SandboxedEnvironment, modifies_known_mutable
from jinja2.utils import Namespace


class Raised(jinja2.TemplateError):
    """The template's own `raise_exception`: what it wants, in its maker's words."""


class Sandbox(SandboxedEnvironment):
    """One template's environment; it renders one prompt at a time."""

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        self._given: object = None
        self._given_ids: set[int] | None = None
        self.filters["tojson"] = _to_json
        self.globals |= {
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
            "dict": _DictMaker(),
            "namespace": _Namespace,
        }

    def give(self, variables: object) -> None:
        """What the next render is given: this is not the template's to change."""
        self._given = variables
        self._given_ids = None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Asked by Jinja at every attribute that a template reads."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        return not modifies_known_mutable(obj, attr) or self._is_own(obj)

    def _is_own(self, obj: object) -> bool:
        """Whether the template made it: whatever it was given lives on, so its ids are taken."""
        if self._given_ids is None:
            self._given_ids = set(_container_ids(self._given))
        return id(obj) not in self._given_ids


def _container_ids(value: object) -> Iterator[int]:
    """Of a value as JSON has it, and of all within."""
    if isinstance(value, dict | list | tuple):
        yield id(value)
        for item in value.values() if isinstance(value, dict) else value:
            yield from _container_ids(item)


class _DictMaker:
    """`dict(...)` makes one; the class itself would lend its methods for what was given."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """Refuses names that begin with an underscore, with which Python's inner parts are set."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that `self` can be a name
        self, attributes = args[0], dict(*args[1:], **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace takes no name with an underscore first: it is {name!r}")


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's text for training; a prompt ignores it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


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
    raise Raised(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)
