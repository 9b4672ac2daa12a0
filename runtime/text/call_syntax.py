"""How a model writes calls: learned from its chat template, which is made to write some."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from registry.checkpoint.call_syntax import ArgumentStyle, CallSyntax, Tags
from registry.checkpoint.config import Json

from .marked_turns import (
    ASKED,
    CALL_IDS,
    EMPTY_BLOCK,
    FUNCTIONS,
    KEYS,
    SAID,
    VALUES,
    Render,
    begun_by,
    call,
    calling,
    common_end,
    common_start,
    from_mark,
    speaking,
    turn,
    user,
)

# Where a template says how calls are to be written, and writes none itself.
HERMES = CallSyntax(
    section_open="",
    call_open='<tool_call>\n{"name": "',
    name_close='", "arguments": ',
    call_close="}\n</tool_call>",
    between="\n",
    section_close="",
)
_GRANITE = CallSyntax(
    section_open="<|tool_call|>[",
    call_open='{"name": "',
    name_close='", "arguments": ',
    call_close="}",
    between=", ",
    section_close="]",
)
_LFM2 = CallSyntax(
    section_open="<|tool_call_start|>[",
    call_open="",
    name_close="(",
    call_close=")",
    between=", ",
    section_close="]<|tool_call_end|>",
    style="python",
    tags=Tags("", "=", "", ", "),
)
# As models of OpenAI's write it; their template has the function before the channel.
HARMONY = CallSyntax(
    section_open="",
    call_open="<|channel|>commentary to=functions.",
    name_close=" <|constrain|>json<|message|>",
    call_close="",
    section_close="",
)


def told_calls(prompt: str) -> CallSyntax | None:
    """What a prompt says about calls, where its template writes none."""
    if any(mark in prompt for mark in ("<|tool_list_start|>", "List of tools: [")):
        return _LFM2
    if "<|tool_call|>" in prompt:
        return _GRANITE
    return HERMES if "<tool_call>" in prompt else None


@dataclass(frozen=True)
class _Frame:
    """What a template makes of a turn's first call, with slots for ids and numbers."""

    before: str  # from behind the user's words to the name
    name_close: str
    style: ArgumentStyle
    tags: Tags | None
    quote: str
    after: str  # from behind the arguments on


def learn_calls(render: Render, *, is_parallel: bool) -> CallSyntax | None:
    """How calls are written; None where that cannot be said in literals."""
    one = render([user(), calling(call(0))], False)
    if one is None:
        return None
    if "to=functions." in one:
        return HARMONY
    frame = _frame(one)
    if frame is None:
        return None
    if frame.style == "tagged" and frame.tags is not None:
        markup = render([user(), calling(call(0, ("<b>", "&")))], False) or ""
        tags = msgspec.structs.replace(frame.tags, cdata="<![CDATA[<b>" in markup)
        frame = replace(frame, tags=tags)
    said = turn(render([user(), speaking()], False), SAID)
    turn_end = "" if said is None else said.after.rstrip()
    begun = begun_by(render) or ""
    tail = _without_end(frame.after, turn_end)
    between: str | None = None
    if is_parallel:
        two = _frame(render([user(), calling(call(0), call(1))], False) or "")
        between, name, _ = ("", "", "") if two is None else two.after.partition(FUNCTIONS[1])
        if not name or (turn_end and between.startswith(turn_end)):  # it is a turn of its own
            between = None
    if between is None:
        opening = _behind(begun, frame.before)
        return _syntax(frame, "", opening.lstrip(), tail.rstrip(), None, "")
    return _parallel(frame, begun, between, tail)


def _parallel(frame: _Frame, begun: str, between: str, tail: str) -> CallSyntax:
    before, between = _numbered(frame.before, 0), _numbered(between, 1)
    call_open = from_mark(common_end(before, between), before, between)
    section_open = _behind(begun, before[: len(before) - len(call_open)]).lstrip()
    closing = between[: len(between) - len(call_open)]
    call_close = common_start(closing, tail).rstrip()
    between = closing[len(call_close) :]
    # The prompt's end may stand before every call, not only the first one.
    begin = range(len(call_open), 0, -1)
    lead = next((call_open[:size] for size in begin if begun.endswith(call_open[:size])), "")
    section_close = tail[len(call_close) :].rstrip() if section_open else ""
    return _syntax(
        frame,
        section_open,
        call_open.removeprefix(lead),
        call_close,
        between + lead,
        section_close,
    )


def _behind(begun: str, text: str) -> str:
    """What an answer itself has of the text, behind what the prompt ends with and empty blocks."""
    rest = text[len(common_start(begun, text)) :]
    if (mark := re.search(r"<[^<>]*>\s*$", begun)) is not None:
        rest = rest.removeprefix(mark[0])
    rest = EMPTY_BLOCK.sub("", rest)
    return rest.removeprefix("<|open|>response<|sep|><|close|>response<|sep|>")


def _without_end(text: str, turn_end: str) -> str:
    """Without the end of the turn, and without tokens that end any answer."""
    text = text.rstrip()
    end = from_mark(common_end(text, turn_end), text, turn_end)
    text = text[: len(text) - len(end)] if end else text
    return re.sub(r"(<\|calls?\|>|<\|eo[tm][^<>]*>|<[^<>]*eos[^<>]*>|<\|tool_response>)$", "", text)


def _frame(prompt: str) -> _Frame | None:
    for call_id in CALL_IDS:
        prompt = prompt.replace(call_id, "{id}")
    start = prompt.rfind(ASKED, 0, prompt.rfind(VALUES[0])) + len(ASKED)
    before, _, rest = prompt[start:].partition(FUNCTIONS[0])
    before_key, _, after_key = rest.partition(KEYS[0])
    opened = before_key.rstrip()
    if opened.endswith('"') and opened[:-1].rstrip().endswith("{"):
        at = before_key.rindex("{")
        try:
            _, length = json.JSONDecoder().raw_decode(rest[at:])
        except ValueError:
            return None
        return _Frame(before, before_key[:at], "json", None, "", rest[at + length :])
    if opened.endswith("{"):
        quote = after_key.partition(VALUES[0])[0].lstrip(": ")
        _, closed, after = after_key.partition("}")
        name_close = before_key[: before_key.rindex("{")]
        return _Frame(before, name_close, "bare", None, quote, after) if closed else None
    return _tagged(before, before_key, after_key)


def _tagged(before: str, before_key: str, after_key: str) -> _Frame | None:
    key_close, _, rest = after_key.partition(VALUES[0])
    to_next, _, rest = rest.partition(KEYS[1])
    _, _, after = rest.partition(VALUES[1])
    if not after:
        return None
    to_next, after = to_next.replace(KEYS[0], "{key}"), after.replace(KEYS[1], "{key}")
    style: ArgumentStyle = "tagged"
    if key_close.rstrip("'\"") == "=" and before_key.startswith("("):
        style, key_close = "python", "="
        to_next, after = to_next.lstrip("'\""), after.lstrip("'\"")
    key_open = from_mark(common_end(before_key, to_next), before_key, to_next)
    closing = to_next[: len(to_next) - len(key_open)]
    value_close = common_start(closing, after)
    key_close = key_close.replace('string="true"', 'string="{is_string}"')
    key_close = key_close.replace('type="string"', 'type="{type}"')
    tags = Tags(key_open, key_close, value_close, closing[len(value_close) :])
    name_close = before_key[: len(before_key) - len(key_open)]
    return _Frame(before, name_close, style, tags, "", after[len(value_close) :])


def _syntax(
    frame: _Frame,
    section_open: str,
    call_open: str,
    call_close: str,
    between: str | None,
    section_close: str,
) -> CallSyntax:
    def slotted(text: str) -> str:
        return _numbered(text.replace(FUNCTIONS[0], "{name}"), 0)

    return CallSyntax(
        section_open=section_open,
        call_open=slotted(call_open),
        name_close=slotted(frame.name_close),
        call_close=slotted(call_close),
        section_close=section_close,
        between=between,
        style=frame.style,
        tags=frame.tags,
        quote=frame.quote,
    )


def _numbered(text: str, number: int) -> str:
    """Numbers of calls as slots, from 0 or from 1."""
    text = re.sub(rf'(?<=[":]){number}(?=["<])', "{index}", text)
    return re.sub(rf'(?<=[":]){number + 1}(?=["<])', "{number}", text)


# --- what is written --------------------------------------------------------------------------


def written(syntax: CallSyntax, calls: Sequence[tuple[str, dict[str, Json]]]) -> str:
    """Calls as the model would write them; ids are their numbers."""
    texts = [
        _slots_filled(syntax.call_open, number, name)
        + name
        + _slots_filled(syntax.name_close, number, name)
        + _arguments(syntax, arguments)
        + _slots_filled(syntax.call_close, number, name)
        for number, (name, arguments) in enumerate(calls)
    ]
    return syntax.section_open + (syntax.between or "").join(texts) + syntax.section_close


def _slots_filled(text: str, number: int, name: str) -> str:
    values = {"{id}": str(number), "{index}": str(number), "{number}": str(number + 1)}
    for slot, value in (values | {"{name}": name}).items():
        text = text.replace(slot, value)
    return text


def _arguments(syntax: CallSyntax, arguments: dict[str, Json]) -> str:
    if syntax.style == "bare":
        return _bare(arguments, syntax.quote)
    if syntax.tags is None:
        return json.dumps(arguments, ensure_ascii=False)
    tags, texts = syntax.tags, []
    for key, value in arguments.items():
        is_string = isinstance(value, str)
        if syntax.style == "python":
            text = repr(value)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        key_close = tags.key_close.replace("{is_string}", "true" if is_string else "false")
        key_close = key_close.replace("{type}", _type_of(value))
        texts.append(
            tags.key_open + key + key_close + text + tags.value_close.replace("{key}", key)
        )
    return tags.between.join(texts)


def _type_of(value: Json) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "boolean"
    kinds = ((str, "string"), (dict, "object"), (list, "array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "number")


def _bare(value: Json, quote: str) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_bare(inner, quote)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_bare(inner, quote) for inner in value) + "]"
    return f"{quote}{value}{quote}" if isinstance(value, str) else json.dumps(value)
