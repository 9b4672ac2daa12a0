"""Every row of docs/parameters.md, against a running server: what is honoured shows, what is
refused is a 400 that names it, and what is ignored changes nothing."""

import json
import re
import typing
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from anthropic.types import message_create_params as messages
from anthropic.types.beta import message_create_params as beta_messages
from openai.types import completion_create_params as completions
from openai.types.chat import completion_create_params as chats
from openai.types.responses import input_token_count_params as counts
from openai.types.responses import response_compact_params as compactions
from openai.types.responses import response_create_params as responses

from tests.serving import ROOT, ServerProcess
from web.api.anthropic.message_body import MessagesBody
from web.api.openai.chat_body import ChatBody
from web.api.openai.completions import CompletionBody
from web.api.openai.responses.body import ResponseBody
from web.door.body import RequestBody

from . import conversing, passing, responding
from .asked_apis import Api, Chats, Completions, Messages, Responses
from .conversing import SENT
from .drawing import Honoured
from .passing import Refused

PAGE = (ROOT / "docs" / "parameters.md").read_text()
APIS: dict[str, type[Api]] = {api.path: api for api in (Chats, Completions, Responses, Messages)}
BODIES: dict[str, type[RequestBody]] = {
    Chats.path: ChatBody,
    Completions.path: CompletionBody,
    Responses.path: ResponseBody,
    Messages.path: MessagesBody,
}
HONOURED: dict[str, dict[str, Honoured]] = {
    Chats.path: conversing.CHATS,
    Completions.path: conversing.COMPLETIONS,
    Responses.path: responding.RESPONSES,
    Messages.path: conversing.MESSAGES,
}
REFUSED: dict[str, dict[str, Refused]] = {
    Chats.path: passing.REFUSED_CHATS,
    Completions.path: passing.REFUSED_COMPLETIONS,
    Responses.path: passing.REFUSED_RESPONSES,
    Messages.path: passing.REFUSED_MESSAGES,
}
IGNORED: dict[str, dict[str, Any]] = {
    Chats.path: passing.IGNORED_CHATS,
    Completions.path: passing.IGNORED_COMPLETIONS,
    Responses.path: passing.IGNORED_RESPONSES,
    Messages.path: passing.IGNORED_MESSAGES,
}
SDKS: dict[str, tuple[Any, ...]] = {
    Chats.path: (chats.CompletionCreateParamsStreaming, chats.CompletionCreateParamsBase),
    Completions.path: (
        completions.CompletionCreateParamsStreaming,
        completions.CompletionCreateParamsBase,
    ),
    Responses.path: (
        responses.ResponseCreateParamsStreaming,
        responses.ResponseCreateParamsBase,
        counts.InputTokenCountParams,
        compactions.ResponseCompactParams,
    ),
    Messages.path: (
        messages.MessageCreateParamsStreaming,
        messages.MessageCreateParamsBase,
        beta_messages.MessageCreateParamsStreaming,
        beta_messages.MessageCreateParamsBase,
    ),
}


@pytest.fixture
def api(server: ServerProcess, path: str) -> Iterator[Api]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield APIS[path](client)


def rows(path: str) -> dict[str, str]:
    """Of an API's table: each parameter, and what happens to it."""
    (table,) = re.findall(rf"^## `POST {path}`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| `(\w+)` \| (\w+) \| \S.* \|$", table, re.MULTILINE)
    assert len(cells) == len(re.findall(r"^\|", table, re.MULTILINE)) - 2, "a row is not read"
    assert len(cells) == len(dict(cells)), "a parameter has two rows"
    return dict(cells)


@pytest.mark.parametrize("path", APIS)
def test_every_row_has_a_probe_and_every_probe_a_row(path: str) -> None:
    expected = dict.fromkeys(HONOURED[path], "honoured")
    expected |= dict.fromkeys(REFUSED[path], "refused")
    expected |= dict.fromkeys(IGNORED[path], "ignored")
    expected |= dict.fromkeys(BODIES[path].synonyms, "honoured")
    assert rows(path) == expected


@pytest.mark.parametrize("path", APIS)
def test_every_parameter_of_the_sdks_has_a_row(path: str) -> None:
    known = {name for shape in SDKS[path] for name in typing.get_type_hints(shape)}
    assert known - set(rows(path)) == set()


@pytest.mark.parametrize("path", APIS)
def test_every_field_of_a_body_has_a_row(path: str) -> None:
    told = set(rows(path)) | set(BODIES[path].unhonoured)
    assert set(BODIES[path].__struct_fields__) - told == set()


@pytest.mark.parametrize("path", APIS)
def test_the_page_lists_what_else_is_refused(path: str) -> None:
    listed = re.findall(rf"^`{path}`: (.*)\.$", PAGE, re.MULTILINE)
    assert listed == [also_refused(path)]


def also_refused(path: str) -> str:
    """The parameters without a row, each with the values that it may have."""
    names = sorted(set(BODIES[path].unhonoured) - set(rows(path)))
    return ", ".join(_with_values(name, BODIES[path].unhonoured[name]) for name in names)


def _with_values(name: str, values: tuple[Any, ...]) -> str:
    told = " or ".join(f"`{json.dumps(value)}`" for value in values)
    return f"`{name}` ({told})" if told else f"`{name}`"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in APIS for name in HONOURED[path]]
)
def test_honoured(api: Api, path: str, name: str) -> None:
    """It does what it says, and a value that cannot be honoured is a 400."""
    probe = HONOURED[path][name]
    api.refused(**{name: probe.wrong})
    probe.show(api)


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in APIS for name in REFUSED[path]]
)
def test_refused(api: Api, path: str, name: str) -> None:
    """A 400 that names it, unless it asks for nothing."""
    probe = REFUSED[path][name]
    api.refused(**{name: probe.value})
    for value in (None, *probe.neutral):
        assert api.ask(**{name: value}).num_tokens == api.num_tokens


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in APIS for name in IGNORED[path]]
)
def test_ignored(api: Api, path: str, name: str) -> None:
    """The answer is the same as without it."""
    options = {"temperature": 1, "seed": 1}
    plain, told = api.ask(**options), api.ask(**options, **{name: IGNORED[path][name]})
    assert told.content() == plain.content()
    if name == "context_management":
        assert told.body[name] == {"applied_edits": []}
    else:
        assert told.body.keys() == plain.body.keys()


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in APIS for name in BODIES[path].synonyms]
)
def test_other_names(api: Api, path: str, name: str) -> None:
    """What the parameter does under its own name; both cannot be sent."""
    value, beside = SENT[name]
    own = BODIES[path].synonyms[name]
    has_one = own in REFUSED[path]  # 'n', where an answer is one
    if has_one:
        value = 1
    told = api.ask(**beside | {name: value})
    assert told.content() == api.ask(**beside | {own: value}).content()
    if own != "n":
        rest = {key: sent for key, sent in beside.items() if sent is not ...}
        assert told.content() != api.ask(**rest).content()
    elif not has_one:
        assert len(told.body["choices"]) == value
    api.refused(**{own: value, name: value})
