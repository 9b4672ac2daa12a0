"""What a chat template takes: found out by rendering small conversations of our own.

Each holds words that no template has; a message is taken if its words come out. So a message that
is dropped without an error is told from one that is taken. The llama.cpp project does the same for
its own renderer (common/jinja/caps.cpp).
"""

import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

from registry.checkpoint.chat_format import Absence, ChatFormat
from registry.checkpoint.config import Json

from .answer_syntax import learn_marks
from .template import ChatTemplate, TemplateError
from .time_limit import OutOfTime, time_limit

_Ids: TypeAlias = Literal["any", "nine", "function"]

_LIMIT_S = 0.5  # of the processor's time, for all of it; what is not asked by then is taken
_CALL_IDS: dict[_Ids, str] = {
    "any": "call_q7Rz0mVxKtY3bHs",
    "nine": "q7Rz0mVxK",
    "function": "functions.fotwix:0",
}
_CALL_ID = _CALL_IDS["any"]
_ARGUMENT, _VALUE = "karqez", "vimzuq"
_FUNCTIONS = ("fotwix", "gudnov")
_FILLERS = ("", " ", "...")
_RESULTS = ("rezpal", "rogbix")

Message: TypeAlias = dict[str, Any]


def learn(template: ChatTemplate) -> ChatFormat:
    """What it takes, in milliseconds. One that renders nothing at all is left as it is."""
    probe = _Probe(template)
    found: dict[str, Any] = {}
    with contextlib.suppress(OutOfTime), time_limit(_LIMIT_S):
        for ask in (_options, _content, _system, _turns, _tools, _calls, _results):
            found |= ask(probe, ChatFormat(**found))
        if probe.takes(_user()):
            found |= learn_marks(template, ChatFormat(**found))
    return ChatFormat(**found)


class _Probe:
    """A template, asked."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self.options: dict[str, Json] = {}
        self.parts: frozenset[str] = frozenset()
        self.runs = False

    def render(self, messages: Sequence[Message], **options: Json) -> str | None:
        """The prompt, or None if it is refused."""
        shaped = [self._shaped(message) for message in messages]
        try:
            return self.template.render(shaped, {**self.options, **options})
        except TemplateError:
            return None

    def _shaped(self, message: Message) -> Message:
        content = message.get("content")
        if message["role"] in self.parts and _is_said(message):
            return message | {"content": [{"type": "text", "text": content}]}
        return message

    def takes(self, *messages: Message) -> bool:
        """Whether all words of the messages come out."""
        prompt = self.render(messages)
        return prompt is not None and all(word in prompt for word in _words(messages))

    def keeps_order(self, *messages: Message) -> bool:
        """Whether they come out one after the other: some templates gather what the system says."""
        prompt = self.render(messages)
        places = [-1 if prompt is None else prompt.find(word) for word in _words(messages)]
        return min(places) >= 0 and places == sorted(places)


def _is_said(message: Message) -> bool:
    """Whether it has words, or at least none of no calls."""
    content = message.get("content")
    return bool(content) or (content == "" and not message.get("tool_calls"))


def _words(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if message.get("content"):
            yield message["content"]
        for call in message.get("tool_calls") or ():
            yield call["function"]["name"]
            yield _VALUE


def _user(number: int = 0) -> Message:
    return {"role": "user", "content": f"uwvor{number}"}


def _assistant(number: int = 0) -> Message:
    return {"role": "assistant", "content": f"axgiq{number}"}


def _said_by_system(number: int = 0) -> Message:
    return {"role": "system", "content": f"sijpo{number}"}


# --- the questions, in their order: each may use what the ones before have found out --------------


def _options(probe: _Probe, _: ChatFormat) -> dict[str, Any]:
    """Some templates read variables that nobody gives: tools that are None, dates, functions."""
    unknown = sorted(probe.template.names - {"messages", "add_generation_prompt", "tools"})
    as_texts: dict[str, Json] = {name: "" for name in unknown}
    as_lists: dict[str, Json] = {name: [] for name in unknown}
    tools: dict[str, Json] = {"tools": []}
    candidates = [{}, tools, as_texts, as_texts | tools, as_lists, as_lists | tools]
    asked = [[_user()], [{"role": "user", "content": [{"type": "text", "text": "uwvor0"}]}]]
    for options, messages in itertools.product(candidates, asked):
        if probe.render(messages, **options) is not None:
            for name in list(options):  # only what it does not do without
                less = {other: value for other, value in options.items() if other != name}
                if probe.render(messages, **less) is not None:
                    options = less
            probe.options, probe.runs = options, True
            return {"options": options} if options else {}
    return {}


def _content(probe: _Probe, _: ChatFormat) -> dict[str, Any]:
    """Which roles have their content as a list of parts, and no string."""
    if not probe.runs:
        return {}
    conversations = (
        [_user()],
        [_user(0), _assistant(0), _user(1)],
        [_said_by_system(), _user()],
    )
    for role, conversation in zip(("user", "assistant", "system"), conversations, strict=True):
        if not probe.takes(*conversation):
            probe.parts |= {role}
            if not probe.takes(*conversation):
                probe.parts -= {role}
    return {"parts": tuple(sorted(probe.parts))}


def _system(probe: _Probe, _: ChatFormat) -> dict[str, Any]:
    if not probe.takes(_user()):
        return {}  # nothing that follows would tell
    system, user, assistant = _said_by_system, _user, _assistant
    turns = (user(0), assistant(0))
    return {
        # The first one is told where its template wants it, with the user's last turn in Mistral's.
        "system_first": probe.takes(system(), user()),
        "system_repeated": probe.keeps_order(system(0), system(1), user()),
        "system_between": probe.keeps_order(system(0), *turns, system(1), user(1))
        and probe.keeps_order(*turns, system(0), user(1)),
        "system_last": probe.keeps_order(*turns, user(1), system(0)),
    }


def _turns(probe: _Probe, _: ChatFormat) -> dict[str, Any]:
    if not probe.takes(_user()):
        return {}
    user, assistant = _user, _assistant
    silent = ({"role": "assistant", "content": word} for word in _FILLERS)
    filler = next(
        (turn["content"] for turn in silent if probe.takes(user(0), turn, user(1))), ""
    )  # fmt: skip
    return {
        "filler": filler,
        "repeats_user": probe.takes(user(0), user(1))
        and probe.takes(user(0), assistant(0), user(1), user(2)),
        "repeats_assistant": probe.takes(user(0), assistant(0), assistant(1), user(1)),
        "starts_with_assistant": probe.takes(assistant(0), user(0)),
    }


def _tools(probe: _Probe, _: ChatFormat) -> dict[str, Any]:
    argument: Json = {"type": "string", "description": "d"}
    parameters: Json = {
        "type": "object", "properties": {_ARGUMENT: argument}, "required": [_ARGUMENT],
    }  # fmt: skip
    function: Json = {"name": _FUNCTIONS[0], "description": "d", "parameters": parameters}
    tool: Json = {"type": "function", "function": function}
    prompts = [
        probe.render(messages, tools=[tool])
        for messages in ([_user()], [_said_by_system(), _user()])
    ]
    return {"tools": any(_FUNCTIONS[0] in (prompt or "") for prompt in prompts)}


_Arguments: TypeAlias = Literal["string", "object"]


def _call(arguments: _Arguments, call_id: str, number: int = 0) -> Message:
    value = {_ARGUMENT: _VALUE}
    function = {
        "name": _FUNCTIONS[number],
        "arguments": value if arguments == "object" else json.dumps(value),
    }
    return {"id": call_id, "type": "function", "function": function}


def _calling(calls: Sequence[Message], absence: Absence) -> Message:
    content: dict[str, Any] = {"null": {"content": None}, "empty": {"content": ""}, "absent": {}}
    return {"role": "assistant", **content[absence], "tool_calls": list(calls)}


def _result(call_id: str, number: int = 0) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": _RESULTS[number]}


_ABSENCES: tuple[Absence, ...] = ("null", "empty", "absent")


def _calls(probe: _Probe, _: ChatFormat) -> dict[str, Any]:
    """How a call is to be told: the first way in which all of it comes out, else the best one."""
    if not probe.takes(_user()):
        return {}
    forms: tuple[_Arguments, ...] = ("string", "object")
    best = 0
    found: dict[str, Any] = {"tool_calls": False, "tool_results": _has_results(probe)}
    parts = (probe.parts, probe.parts | {"tool"})
    for named, (ids, call_id), probe.parts, form, absence in itertools.product(
        (False, True), _CALL_IDS.items(), parts, forms, _ABSENCES
    ):
        calling = _calling([_call(form, call_id)], absence)
        result = _result(call_id) | ({"name": _FUNCTIONS[0]} if named else {})
        quality = _quality(probe, calling, result)
        if quality > best:
            best = quality
            found = {
                "tool_calls": True,
                "tool_results": True,
                "tool_arguments": form,
                "call_ids": ids,
                "named_results": named,
                "no_content": (absence,),
                "parts": tuple(sorted(probe.parts)),
            }
        if best == 2:
            break
    probe.parts = frozenset(found.get("parts", parts[0]))
    return found


def _has_results(probe: _Probe) -> bool:
    """Whether results come out of a template that drops calls."""
    plain = probe.takes(_user(), _assistant(), _result(_CALL_ID))
    calling = _calling([_call("string", _CALL_ID)], "empty")
    prompt = probe.render([_user(), calling, _result(_CALL_ID)])
    return plain and prompt is not None and _RESULTS[0] in prompt


def _quality(probe: _Probe, calling: Message, result: Message) -> int:
    """2: the call comes out as it should. 1: spelled oddly. 0: not, or not all of it."""
    messages = [_user(), calling, result]
    prompt = probe.render(messages)
    if prompt is None or not all(word in prompt for word in _words(messages)):
        return 0
    # JSON within JSON or within braces, or an object as Python prints it.
    odd = (f'\\"{_ARGUMENT}\\"', f"{{'{_ARGUMENT}'", f'{{{{"{_ARGUMENT}"')
    is_odd = any(spelling in prompt for spelling in odd)
    if "content" in calling and calling["content"] is None and not is_odd:
        other = probe.render([_user(), calling | {"content": ""}, result])
        is_odd = other is not None and prompt.count("None") > other.count("None")
    return 1 if is_odd else 2


def _results(probe: _Probe, found: ChatFormat) -> dict[str, Any]:
    """What else may stand beside a call and its result, told as was found."""
    if not (found.tool_calls and found.tool_results) or not probe.takes(_user()):
        return {}
    call_id = _CALL_IDS[found.call_ids]
    other_id = (
        f"functions.{_FUNCTIONS[1]}:1" if found.call_ids == "function" else call_id[:-1] + "w"
    )
    form, name = found.tool_arguments, ({"name": _FUNCTIONS[0]} if found.named_results else {})
    calls = [_call(form, call_id), _call(form, other_id, 1)]
    results = [_result(call_id) | name, _result(other_id, 1) | name]
    absence = found.no_content[0]
    absences = tuple(
        other for other in _ABSENCES
        if other == absence or _quality(probe, _calling(calls[:1], other), results[0]) == 2
    )  # fmt: skip
    calling = _calling(calls[:1], absence)
    speaking = calling | {"content": _assistant()["content"]}
    string = _calling([_call("string", call_id)], absence)
    as_object = _calling([_call("object", call_id)], absence)
    return {
        "no_content": absences,
        "parallel_tool_calls": probe.takes(_user(), _calling(calls, absence), *results),
        "lone_results": probe.takes(_user(), _assistant(), results[0]),
        "user_after_result": probe.takes(_user(0), calling, results[0], _user(1)),
        # In the turn that is going on, and in one that is over: there some drop what was said.
        "content_with_calls": probe.takes(_user(0), speaking, results[0])
        and probe.takes(_user(0), speaking, results[0], _assistant(1), _user(1)),
        "string_arguments": probe.takes(_user(), string, results[0]),
        "object_arguments": _quality(probe, as_object, results[0]) == 2,
    }
