"""Tool calls and their results, as the model's chat template takes them; else as readable text."""

import json
from typing import Any, TypeAlias

from registry.checkpoint.call_syntax import CallSyntax
from registry.checkpoint.chat_format import ChatFormat

from .call_ids import nine_letters, of_functions
from .call_syntax import HERMES, written
from .template import TemplateError

Message: TypeAlias = dict[str, Any]
Call: TypeAlias = dict[str, Any]
Turns: TypeAlias = list[tuple[int, Message]]  # with the number of the client's message


class ConversationRefused(TemplateError):
    """These messages cannot be told by this template; it says which, and what is wanted."""


def with_tools(messages: list[Message], form: ChatFormat) -> tuple[Turns, dict[str, str]]:
    """Copies of the messages, each with its number; and for ids that are new, the client's.

    Raises ConversationRefused for a result without a call, if the template needs one.
    """
    turns: Turns = [(number, dict(message)) for number, message in enumerate(messages)]
    if not any(m.get("tool_calls") or m["role"] == "tool" for _, m in turns):
        return turns, {}
    _name_calls(turns, form)
    ids = {} if form.call_ids == "any" else _with_ids(turns, form)
    told: Turns = []
    for number, message in turns:
        if calls := message.get("tool_calls"):
            if form.tool_calls:
                message["tool_calls"] = [_call(call, form) for call in calls]
                told += _parted(number, message, form)
            else:
                told.append((number, _spoken(message, form.calls or HERMES)))
        elif message["role"] == "tool" and not form.tool_results:
            told.append((number, _heard(message)))
        else:
            told.append((number, message))
    if not form.parallel_tool_calls and form.tool_calls and form.tool_results:
        told = _one_by_one(told)
    for _, message in told:
        message.pop(_FUNCTION, None)
    return told, {new: old for new, old in ids.items() if old != new}


_FUNCTION = "_function"  # of a result: which function it is of, while the turns are shaped


def _name_calls(turns: Turns, form: ChatFormat) -> None:
    """Find each result's call: by its id, or the next one that has no result yet."""
    names: dict[str, str] = {}
    unanswered: list[tuple[str | None, str]] = []
    for number, message in turns:
        for call in message.get("tool_calls") or ():
            name = str(_function(call).get("name") or "")
            call_id = call.get("id")
            if isinstance(call_id, str):
                names[call_id] = name
            unanswered.append((call_id if isinstance(call_id, str) else None, name))
        if message["role"] != "tool":
            continue
        call_id = message.get("tool_call_id")
        found = next((pair for pair in unanswered if call_id and pair[0] == call_id), None)
        if found is None and call_id not in names and unanswered:
            found = unanswered[0]
        if found is not None:
            unanswered.remove(found)
            if not call_id and found[0]:
                message["tool_call_id"] = found[0]
        elif call_id not in names and form.tool_results and not form.lone_results:
            raise ConversationRefused(
                f"messages[{number}] is the result of a tool, but no message before it has the "
                "call, and this model's chat template wants it: send the assistant's message "
                "with its 'tool_calls' before the result."
            )
        name = found[1] if found else names.get(call_id or "", "")
        message[_FUNCTION] = message.get("name") or name
        if form.named_results and message[_FUNCTION]:
            message["name"] = message[_FUNCTION]


def _with_ids(turns: Turns, form: ChatFormat) -> dict[str, str]:
    """Give every call and result an id of the form; what each stands for."""
    _fill_ids(turns)
    calls = [call for _, message in turns for call in message.get("tool_calls") or ()]
    old = [call["id"] for call in calls]
    results = [message["tool_call_id"] for _, message in turns if message["role"] == "tool"]
    letters = nine_letters([*old, *results])
    if form.call_ids == "nine":
        new = iter([letters[name] for name in old])
    else:
        names = [str(_function(call).get("name")) for call in calls]
        new = iter(of_functions(list(zip(old, names, strict=True))))
    nearest: dict[str, str] = {}  # of a result, the last call before it that has its id
    stands_for: dict[str, str] = {}
    for _, message in turns:
        for call in message.get("tool_calls") or ():
            name = nearest[call["id"]] = next(new)
            stands_for[name] = call["id"]
            call["id"] = name
        if message["role"] == "tool":
            name = message["tool_call_id"]
            message["tool_call_id"] = nearest.get(name, letters[name])
    return stands_for


def _fill_ids(turns: Turns) -> None:
    """Calls and results that have no id get one of their places."""
    missing: list[str] = []
    for number, message in turns:
        if message.get("tool_calls"):
            calls = message["tool_calls"] = [dict(call) for call in message["tool_calls"]]
            missing = []
            for place, call in enumerate(calls):
                if not isinstance(call.get("id"), str):
                    call["id"] = f"{number}.{place}"
                    missing.append(call["id"])
        elif message["role"] == "tool" and not isinstance(message.get("tool_call_id"), str):
            message["tool_call_id"] = missing.pop(0) if missing else f"{number}"


def _function(call: Call) -> dict[str, Any]:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def _call(call: Call, form: ChatFormat) -> Call:
    """A call with its arguments as they are wanted.

    Models write JSON that is none. As a text it may come out all the same; else it is wrapped.
    """
    function = _function(call)
    arguments = function.get("arguments")
    if isinstance(arguments, dict) and form.object_arguments:
        return call
    if form.tool_arguments == "string" and form.string_arguments and isinstance(arguments, str):
        return call
    wanted = _object(arguments)
    if not form.string_arguments:
        wanted = _wrapped(wanted)
    if form.tool_arguments == "string":
        is_object = isinstance(arguments, str) and arguments.lstrip().startswith("{")
        wanted = arguments if is_object and wanted == _object(arguments) else _json(wanted)
    return call | {"function": function | {"arguments": wanted}}


def _json(arguments: object) -> str:
    return "{}" if arguments is None else json.dumps(arguments, ensure_ascii=False)


def _object(arguments: object) -> object:
    """What the JSON says; what is none stays as it is."""
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        value = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        return arguments
    return {} if value is None else value


def _parted(number: int, message: Message, form: ChatFormat) -> Turns:
    """Words and calls in turns of their own, where a template drops the words beside calls."""
    if form.content_with_calls or not message.get("content"):
        return [(number, message)]
    words = {"role": "assistant", "content": message["content"]}
    return [(number, words), (number, message | {"content": None})]


def _spoken(message: Message, syntax: CallSyntax) -> Message:
    """The calls as words of the assistant's, as it is asked to write them."""
    functions = [_function(call) for call in message["tool_calls"]]
    told = [(str(f.get("name")), _wrapped(_object(f.get("arguments")))) for f in functions]
    texts = [message.get("content") or "", written(syntax, told)]
    kept = {name: value for name, value in message.items() if name != "tool_calls"}
    return kept | {"content": "\n\n".join(text for text in texts if text)}


def _wrapped(arguments: object) -> dict[str, Any]:
    return arguments if isinstance(arguments, dict) else {"arguments": arguments}


def _heard(message: Message) -> Message:
    """A result as words of the user's."""
    of = f" of {message[_FUNCTION]}" if message.get(_FUNCTION) else ""
    return {"role": "user", "content": f"Tool result{of}: {message.get('content') or ''}"}


def _one_by_one(turns: Turns) -> Turns:
    """Each of several calls in a turn of its own, its result behind it."""
    told: Turns = []
    place = 0
    while place < len(turns):
        number, message = turns[place]
        place += 1
        calls = message.get("tool_calls") or ()
        if len(calls) < 2:
            told.append((number, message))
            continue
        end = place
        while end < len(turns) and turns[end][1]["role"] == "tool":
            end += 1
        results = turns[place:end]
        place = end
        for index, call in enumerate(calls):
            one = message if index == 0 else {"role": "assistant", "content": None}
            told.append((number, one | {"tool_calls": [call]}))
            own = [pair for pair in results if pair[1].get("tool_call_id") == call.get("id")]
            if index == len(calls) - 1:
                own = results
            told += own
            results = [pair for pair in results if pair not in own]
    return told
