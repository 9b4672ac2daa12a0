"""How a model marks what it thinks and what it says: learned from its chat template, which is made
to write answers around words of our own.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from registry.checkpoint.call_syntax import CallSyntax, Speech
from registry.checkpoint.chat_format import ChatFormat

from .call_syntax import learn_calls, told_calls
from .conversation import shaped
from .marked_turns import (
    CALL_IDS,
    EMPTY_BLOCK,
    SAID,
    THOUGHT,
    Message,
    Render,
    begun_by,
    call,
    common_start,
    speaking,
    thinking,
    tools,
    turn,
    user,
)
from .template import ChatTemplate, TemplateError

_THINK_START = re.compile(
    r"(<[^<>]*think[^<>]*>|\[THINK\]"
    r"|<[^<>]*>\w*(?:think|thought|analysis)\w*\n?(?:<[^<>]*>)?)\s*$",
    re.IGNORECASE,
)
_THINK_END = re.compile(
    r"\s*(</[^<>]*>|\[/\w+\]|<channel\|>|\[BEGIN [^\]]*\]|<\|close\|>think<\|sep\|>"
    r"|<\|?END_[^<>]*>|<[^<>]*>)"
)


def learn_marks(template: ChatTemplate, form: ChatFormat) -> dict[str, Any]:
    """The marks of answers, where the template is known to take what `form` says."""
    render = _rendering(template, form)
    speech = learn_speech(render)
    tags = learn_thinking(render, template.source, speech)
    calls = told_calls(render([user()], True) or "") if form.tools else None
    if form.tool_calls:
        calls = learn_calls(render, is_parallel=form.parallel_tool_calls)
        if form.tool_arguments == "string" and form.object_arguments:
            # Arguments that are a string stand as they are; the model's own may be in tags.
            object = msgspec.structs.replace(form, tool_arguments="object", string_arguments=False)
            render = _rendering(template, object)
            other = learn_calls(render, is_parallel=form.parallel_tool_calls)
            calls = other if other is not None and other.style == "tagged" else calls
    if speech is not None and not speech.end:
        speech = Speech(speech.start, _part_end(begun_by(render) or "", tags, calls))
    return {"thinking": tags, "speech": speech, "calls": calls}


def _rendering(template: ChatTemplate, form: ChatFormat) -> Render:
    def render(messages: Sequence[Message], is_new: bool) -> str | None:
        told = shaped(list(messages), form).messages
        try:
            return template.render(told, options, add_generation_prompt=is_new)
        except TemplateError:
            return None

    options = {**form.options, "tools": tools()}
    if render([user()], True) is None:
        options = form.options
    return render


def _part_end(begun: str, tags: tuple[str, str] | None, calls: CallSyntax | None) -> str:
    """What ends a part of a turn that has several, as gpt-oss': the next one begins as the turn."""
    if tags is not None:
        _, closed, restart = tags[1].partition(">")
        if closed and restart and begun.endswith(restart):
            return tags[1]
    if calls is not None and calls.between and begun.endswith(calls.between):
        return calls.between
    return ""


def learn_speech(render: Render) -> Speech | None:
    """What stands around what is said, beside the turn's own beginning and end."""
    begun, said = begun_by(render), turn(render([user(), speaking()], False), SAID)
    if begun is None or said is None:
        return None
    own = EMPTY_BLOCK.sub("", said.before[len(common_start(begun, said.before)) :]).strip()
    if not own or begun.endswith(own):
        return None
    return Speech(said.before[said.before.rfind(own) :], _speech_end(said.after))


def _speech_end(after: str) -> str:
    """The mark that closes it, where the turn's own end stands behind."""
    if after.startswith("<|close|>"):  # Kimi's marks are of three
        return "<|close|>response<|sep|>"
    marks = re.findall(r"<[^<>]*>", after)
    return marks[0] if len(marks) > 1 else ""


def learn_thinking(render: Render, source: str, speech: Speech | None) -> tuple[str, str] | None:
    """The tags around what is thought; None where the template knows no thoughts."""
    begun = begun_by(render)
    for messages in _with_thoughts():
        thought = turn(render(messages, False), THOUGHT)
        if begun is None or thought is None or SAID not in thought.after:
            continue
        start = _think_start(begun, thought.before)
        end = _think_end(thought.after.partition(SAID)[0], speech)
        if start and end:
            return start, end
    if begun is not None and (found := re.search(r"<([^<>/]*think[^<>]*)>", begun)):
        return found[0], f"</{found[1]}>"
    named = [("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<thinking>", "</thinking>")]
    named.append(("<|inner_prefix|>", "<|inner_suffix|>"))
    return next((tags for tags in named if tags[0] in source and tags[1] in source), None)


def _with_thoughts() -> list[list[Message]]:
    """Some templates keep thoughts only of turns that call, and of the last one."""
    result = {"role": "tool", "tool_call_id": CALL_IDS[0], "content": "rezpal"}
    return [
        [user(), thinking()],
        [user(), thinking(tool_calls=[call(0)])],
        [user(), thinking(tool_calls=[call(0)]), result],
    ]


def _think_start(begun: str, before: str) -> str:
    if (found := _THINK_START.search(before)) is not None:
        return found[1]
    if begun.startswith(before.rstrip()):  # the prompt has opened it
        return begun[len(before.rstrip()) :].strip()
    return before[len(common_start(begun, before)) :].strip("\n")


def _think_end(between: str, speech: Speech | None) -> str:
    if speech is not None and between.endswith(speech.start) and between != speech.start:
        return between[: -len(speech.start)].strip()
    found = _THINK_END.match(between)
    return found[1] if found else between.strip()
