"""A conversation to the model's prompt: shaped to the template, rendered, or refused by name."""

import datetime
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import msgspec

from registry.checkpoint.chat_format import ChatFormat
from registry.checkpoint.config import Json
from runtime.requests import Turn

from . import default_tools
from .call_syntax import HERMES
from .conversation import Conversation, shaped
from .probing import learn
from .template import ChatTemplate, TemplateError
from .tool_turns import ConversationRefused

Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads; and for ids of calls that are new there, the client's."""

    text: str
    call_ids: dict[str, str]


class ChatPrompt:
    """A model's template, and what it takes; and the one for tools, if there are two."""

    def __init__(self, template: ChatTemplate, for_tools: ChatTemplate | None = None) -> None:
        self._template = template
        self._for_tools = None if for_tools is None else ChatPrompt(for_tools)

    @cached_property
    def form(self) -> ChatFormat:
        return learn(self._template)

    @property
    def knows_tools(self) -> bool:
        """Whether the template tells of functions, and it is known how they are called then."""
        return self.form.tools and self.form.calls is not None

    def chosen(self, messages: list[Message], options: dict[str, Any]) -> "ChatPrompt":
        """The template for these: the one for tools, where the other one cannot tell them."""
        if self._for_tools is None or self._for_tools.form.is_spoken:
            return self
        has_calls = any(message.get("tool_calls") for message in messages)
        is_missed = has_calls and not (self.form.tool_calls and self.form.tool_results)
        if is_missed or (options.get("tools") and not self.knows_tools):
            return self._for_tools
        return self

    def render(
        self, messages: list[Message], options: dict[str, Any], turn: Turn = "new"
    ) -> Prompt:
        """The prompt, up to where the model goes on. Raises TemplateError."""
        chosen = self.chosen(messages, options)
        if chosen is not self:
            return chosen.render(messages, options, turn)
        tools = options.get("tools")
        if not tools:
            return self._of_turn(messages, options, turn)
        failure: TemplateError | None = None
        if self.knows_tools:
            try:
                return self._of_turn(messages, options, turn)
            except TemplateError as error:  # perhaps it wants descriptions, or other definitions
                failure = error
        told = default_tools.message_of(tools, self.form.calls or HERMES)
        options = {name: value for name, value in options.items() if name != "tools"}
        try:
            return self._of_turn([told, *messages], options, turn)
        except ConversationRefused as error:
            raise failure or _renumbered(error) from None
        except TemplateError as error:
            raise failure or error from None

    def _of_turn(self, messages: list[Message], options: dict[str, Any], turn: Turn) -> Prompt:
        if turn == "continued":
            return self._continued(messages, options)
        return self._rendered(messages, options, add_generation_prompt=turn == "new")

    def _rendered(
        self, messages: list[Message], options: dict[str, Any], *, add_generation_prompt: bool
    ) -> Prompt:
        options = {**_filled(self.form.options), **options}
        tried: list[list[Message]] = []
        failure: TemplateError | None = None
        incomplete: Prompt | None = None
        has_user = any(message["role"] == "user" for message in messages)
        for form, is_for_loss in _attempts(self.form):
            if incomplete is not None and not is_for_loss:
                break
            if failure is not None and not has_user:
                break  # a user's message is asked for, not made up
            conversation = shaped(messages, form)
            if conversation.messages in tried:
                continue
            tried.append(conversation.messages)
            try:
                text = self._template.render(
                    conversation.messages, options, add_generation_prompt=add_generation_prompt
                )
            except TemplateError as error:
                failure = failure or error
                continue
            prompt = Prompt(text, conversation.call_ids)
            if _is_complete(text, messages):
                return prompt
            incomplete = incomplete or prompt
        if incomplete is not None:  # the template rewrites texts, so none can be missed
            return incomplete
        assert failure is not None
        raise self._refusal(messages, options, failure)

    def _continued(self, messages: list[Message], options: dict[str, Any]) -> Prompt:
        """Cut behind the last content: a mark is set there and looked for, as transformers does.

        A blank behind the mark tells whether the template trims the end of contents.
        """
        content = messages[-1].get("content") or ""
        mark = "\ue000"  # of no script: nobody writes it
        while any(mark in (message.get("content") or "") for message in messages):
            mark += "\ue000"
        marked = [*messages[:-1], messages[-1] | {"content": f"{content}{mark} "}]
        failure: TemplateError | None = None
        cut: Prompt | None = None
        try:
            prompt = self._rendered(marked, options, add_generation_prompt=False)
        except TemplateError as error:
            failure = error
        else:
            if (place := prompt.text.rfind(mark)) >= 0:
                text = prompt.text[:place]
                if not prompt.text.startswith(f"{mark} ", place):
                    text = text.rstrip()
                cut = Prompt(text, prompt.call_ids)
                if text.rstrip().endswith(content.strip()):
                    return cut
        # It takes no answer there, or cuts its thinking off, as of answers that are over: so it is
        # set behind what begins an answer.
        try:
            prompt = self._rendered(messages[:-1], options, add_generation_prompt=True)
        except TemplateError as error:
            if cut is not None:
                return cut
            raise failure or error from None
        return Prompt(_begun(prompt.text, content) + content, prompt.call_ids)

    def _refusal(
        self, messages: list[Message], options: dict[str, Any], failure: TemplateError
    ) -> TemplateError:
        """Which message is refused: the shortest beginning of the conversation that is."""
        conversation = shaped(messages, self.form)
        if self._failure([{"role": "user", "content": "x"}], options) is not None:
            return failure  # it renders nothing at all
        told = conversation.messages
        if not any(message["role"] == "user" for message in told) and not self._failure(
            [*told, {"role": "user", "content": "x"}], options
        ):
            return ConversationRefused(
                f"messages[{len(messages) - 1}] is the last, and none is of the role 'user', but "
                f"this model's chat template wants one: send a user's message."
            )
        number, failure = self._first_refused(conversation, options, failure)
        said = f"it says {str(failure)!r}" if failure.is_own else "it cannot be rendered there"
        return ConversationRefused(
            f"messages[{number}], of the role {messages[number]['role']!r}, does not fit this "
            f"model's chat template: {said}. {_wants(self.form)}"
        )

    def _first_refused(
        self, conversation: Conversation, options: dict[str, Any], failure: TemplateError
    ) -> tuple[int, TemplateError]:
        fits, fails = 0, len(conversation.messages)
        while fails - fits > 1:
            middle = (fits + fails) // 2
            error = self._failure(conversation.messages[:middle], options)
            if error is None:
                fits = middle
            else:
                fails, failure = middle, error
        return conversation.numbers[fails - 1], failure

    def _failure(self, messages: list[Message], options: dict[str, Any]) -> TemplateError | None:
        try:
            self._template.render(messages, options, add_generation_prompt=True)
        except TemplateError as error:
            return error
        return None


def _renumbered(refusal: ConversationRefused) -> ConversationRefused:
    """By the client's messages, before which one was put."""
    said = re.sub(r"messages\[(\d+)\]", lambda n: f"messages[{int(n[1]) - 1}]", str(refusal))
    return ConversationRefused(said)


def _filled(options: dict[str, Json]) -> dict[str, Json]:
    """What a template reads and nobody gives; where it wants a date, that of today."""
    today = datetime.date.today().strftime("%d %B %Y")
    is_date = re.compile("date|today").search
    return {
        name: today if value == "" and is_date(name) else value for name, value in options.items()
    }


def _begun(text: str, content: str) -> str:
    """The beginning of an answer that goes on with the content.

    A block for thinking is left out if the content brings its own, and closed if it has none.
    """
    if (own := re.match(r"\s*<(\w+)>", content)) is not None:
        tag = own[1]
        return re.sub(rf"(<{tag}>\s*(</{tag}>\s*)?|</{tag}>\s*)$", "", text)
    if (opened := re.search(r"<(\w*think\w*)>\s*$", text)) is not None:
        if f"</{opened[1]}>" not in content:
            return f"{text}</{opened[1]}>"
    return text


def _attempts(form: ChatFormat) -> list[tuple[ChatFormat, bool]]:
    """The form that was found; then others, for what small conversations did not show.

    With each, whether it is for texts that were lost too, or only for messages that were refused.
    """
    strict = msgspec.structs.replace(
        form,
        system_repeated=False,
        system_between=False,
        system_last=False,
        repeats_user=False,
        repeats_assistant=False,
        starts_with_assistant=False,
        user_after_result=False,
        content_with_calls=False,
        parallel_tool_calls=False,
        string_arguments=False,
    )
    folded = msgspec.structs.replace(strict, system_first=False)
    spoken = msgspec.structs.replace(strict, tool_calls=False, tool_results=False)
    unthinking = msgspec.structs.replace(form, blank_reasoning=True)
    return [(form, True), (strict, True), (folded, True), (unthinking, False), (spoken, False)]


def _is_complete(text: str, messages: list[Message]) -> bool:
    """Whether all is there that was said to the model; answers may lose their reasoning."""
    place = 0
    for message in messages:
        if message["role"] == "assistant" or not message.get("content"):
            continue
        words = message["content"].strip()
        found = text.find(words, place)
        if found >= 0:
            place = found
        elif words not in text and (message["role"] != "tool" or not _is_quoted(text, words)):
            return False
    return True


def _is_quoted(text: str, words: str) -> bool:
    """Whether a result is there as JSON has it, or taken apart."""
    letters = re.findall(r"\w+", words[:200])
    return json.dumps(words, ensure_ascii=False) in text or all(word in text for word in letters)


def _wants(form: ChatFormat) -> str:
    """What the template takes, in a sentence."""
    shown = form.shown()
    facts = {
        "first": "a system message only first",
        "none": "no system message",
        "anywhere": "system messages anywhere",
    }
    wants = [facts[str(shown["system"])]]
    if shown["alternates"]:
        wants.append("turns of user and assistant one after the other")
    if not form.lone_results:
        wants.append("a tool's result behind its call")
    if form.call_ids == "nine":
        wants.append("ids of calls of nine letters or digits")
    return f"It takes {', '.join(wants)}."
