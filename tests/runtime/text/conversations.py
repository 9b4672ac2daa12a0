"""Conversations as real clients send them, every text in them one that no template has."""

import json
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]

_ASK, _ASK_2 = "Where do zebrafinches roost?", "And the ocelots, plimsoll?"
_TELL, _TELL_2 = "In quiverwood shrubs.", "Ocelots nap on limbs."
_RULE, _RULE_2 = "Talk like a grumblewort.", "Never mention frobozz."
ARGUMENTS, ARGUMENTS_2 = {"town": "Zanzibaria-Nord", "scale": "wombatgrade"}, {"page": "folio-xvi"}
RESULT, RESULT_2 = "It is 37 flumdegrees there.", "The ledger says gribbleflix."
_ID, _ID_2 = "call_9fQ2xLw7Zt", "toolu_01A09q90qw90lq91"


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str, **fields: Any) -> Message:
    return {"role": "assistant", "content": text, **fields}


def call(arguments: object = ARGUMENTS, name: str = "lookup_thermals", id: str = _ID) -> Message:
    """As a client sends it: the arguments are JSON in a string."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": id, "type": "function", "function": function}


def calling(*calls: Message, content: str | None = None) -> Message:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(text: str = RESULT, id: str = _ID) -> Message:
    return {"role": "tool", "tool_call_id": id, "content": text}


def parts(role: str, *texts: str) -> Message:
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


_CALL_2 = call(ARGUMENTS_2, "read_ledger", _ID_2)

EIGHT: dict[str, list[Message]] = {
    "a user": [user(_ASK)],
    "turns": [user(_ASK), assistant(_TELL), user(_ASK_2)],
    "system first": [system(_RULE), user(_ASK)],
    "system in the middle": [user(_ASK), assistant(_TELL), system(_RULE), user(_ASK_2)],
    "two users": [user(_ASK), user(_ASK_2)],
    "a call and its result": [user(_ASK), calling(call()), result()],
    "an answer last": [user(_ASK), assistant("They roost in quiverwood and")],
    "reasoning": [user(_ASK), assistant(_TELL, reasoning_content="Blorptwigs."), user(_ASK_2)],
}

# What else a template may be told in place of these, least changed first. Each of them is whole.
_RULE_FOLDED = user(f"{_RULE}\n\n{_ASK}")
_AS_JSON = json.dumps({"name": "lookup_thermals", "arguments": ARGUMENTS})
_AS_PYTHON = ", ".join(f"{name}={value!r}" for name, value in ARGUMENTS.items())
# As Hermes writes calls, and as models do whose templates only tell of tools.
_IN_WORDS = [
    assistant(f"<tool_call>\n{_AS_JSON}\n</tool_call>"),
    assistant(f"<|tool_call_start|>[lookup_thermals({_AS_PYTHON})]<|tool_call_end|>"),
    assistant(f"<|tool_call|>[{_AS_JSON}]"),
]
SHAPED: dict[str, list[list[Message]]] = {
    "system first": [[_RULE_FOLDED]],
    "system in the middle": [[user(_ASK), assistant(_TELL), user(f"{_RULE}\n\n{_ASK_2}")]],
    "two users": [[user(f"{_ASK}\n\n{_ASK_2}")]],
    "a call and its result": [
        [user(_ASK), words, behind]
        for words in _IN_WORDS
        for behind in (result(), user(f"Tool result of lookup_thermals: {RESULT}"))
    ],
}

# Of agents (Claude Code, Codex, opencode), of histories that were cut, and of simpler clients.
MORE: dict[str, list[Message]] = {
    "claude code": [
        parts("system", "Alpha framework. ", "Beta framework."),
        parts("user", "Gamma context. ", "Say delta."),
        system("Epsilon mode is on."),
    ],
    "claude code, later": [
        system(_RULE), user(_ASK), system(_RULE_2), calling(call(), content="Let me look, hm."),
        result(), assistant(_TELL), system("Epsilon mode is on."), user(_ASK_2),
    ],
    "codex": [
        parts("developer", "Permit alpha. ", "Sandbox beta."), parts("developer", "Env gamma."),
        parts("user", "Files delta."), parts("user", "Say epsilon."),
    ],
    "opencode": [system(_RULE), user("Generate a title zwick:"), user(_ASK)],
    "two calls": [
        user(_ASK), calling(call(), _CALL_2), result(), result(RESULT_2, _ID_2), assistant(_TELL),
        user(_ASK_2),
    ],
    "results in another order": [
        user(_ASK), calling(call(), _CALL_2), result(RESULT_2, _ID_2), result(),
    ],
    "call after call": [
        user(_ASK), calling(call()), result(), calling(_CALL_2), result(RESULT_2, _ID_2),
    ],
    "a call with words": [user(_ASK), calling(call(), content="Let me look, hm."), result()],
    "a call with an empty text": [user(_ASK), calling(call(), content=""), result()],
    "a call without content": [
        user(_ASK), {"role": "assistant", "tool_calls": [call()]}, result(),
    ],
    "no arguments": [user(_ASK), calling(call({})), result()],
    "ids that are used again": [
        user(_ASK), calling(call(id="0")), result(id="0"), assistant(_TELL), user(_ASK_2),
        calling(call(ARGUMENTS_2, "read_ledger", "0")), result(RESULT_2, "0"),
    ],
    "an id of any letters": [user(_ASK), calling(call(id="ünï-✓ 1")), result(id="ünï-✓ 1")],
    "a user after a result": [user(_ASK), calling(call()), result(), user(_ASK_2)],
    "a call without a result": [user(_ASK), calling(call()), user(_ASK_2)],
    "an assistant first": [assistant("Ahoy, I am Wobbegong."), user(_ASK)],
    "two assistants": [user(_ASK), assistant(_TELL), assistant(_TELL_2), user(_ASK_2)],
    "an empty answer": [user(_ASK), assistant(""), user(_ASK_2)],
    "system last": [user(_ASK), assistant(_TELL), user(_ASK_2), system(_RULE)],
    "system between users": [user(_ASK), system(_RULE), user(_ASK_2)],
    "texts like markup": [
        system("{{ 7 * 7 }} {% raw %}"), user("{% if x %} {# no #} <b>'bold' & \"x\"</b>"),
        assistant("{{ bos_token }}"), user("%} {% endraw %} \\n {{"),
    ],
    "texts of all scripts": [
        system("Sei höflich: 日本語 🙂"), user("Grüße ÀÉ ẞ e\u0301 \u200b\u2028 текст"),
        assistant("中文 🙂👩‍👩‍👧"), user("עברית"),
    ],
}  # fmt: skip

CONTINUED: dict[str, list[Message]] = {
    "an answer": [user(_ASK), assistant("They roost in quiverwood and")],
    "with a system message": [system(_RULE), user(_ASK), assistant("They roost in")],
    "a later turn": [user(_ASK), assistant(_TELL), user(_ASK_2), assistant("Ocelots nap")],
    "a letter that is everywhere": [user(_ASK), assistant("a")],
    "words of the question": [user("Repeat: plimsoll plimsoll"), assistant("plimsoll")],
    "JSON": [user(_ASK), assistant('{"answer": "')],
    "code": [user(_ASK), assistant("```python\n")],
    "a blank": [user(_ASK), assistant("They roost in ")],
    "behind a result": [user(_ASK), calling(call()), result(), assistant("It is 37 and")],
    "behind another answer": [user(_ASK), assistant(_TELL), assistant("Besides, they")],
    "two users": [user(_ASK), user(_ASK_2), assistant("They roost")],
}


LONE_RESULT = [user(_ASK), result()]


def is_told(prompt: str, messages: list[Message]) -> bool:
    """Whether all texts are in the prompt, in their order, as far as it is the client's.

    A template has its own place for what the system says first, and may take one call at a time,
    or have a turn's words behind its calls: the texts of a turn with calls, and of the results
    behind it, may be in any order among themselves.
    """
    end = 0
    for place, block in enumerate(_blocks(messages)):
        is_first = place == 0 and block[0]["role"] in ("system", "developer")
        ends = [_end_of(prompt, text, end) for message in block for text in _texts(message)]
        if None in ends:
            return False
        if not is_first:
            end = max([end, *(place for place in ends if place is not None)])
    return True


def is_spelled_well(prompt: str) -> bool:
    """Arguments are neither JSON within JSON or braces nor an object as Python prints it."""
    odd = [
        spelling
        for name in [*ARGUMENTS, *ARGUMENTS_2]
        for spelling in (f'\\"{name}\\"', f"{{'{name}'", f'{{{{"{name}"')
    ]
    return not any(spelling in prompt for spelling in odd)


def _blocks(messages: list[Message]) -> list[list[Message]]:
    blocks: list[list[Message]] = []
    for message in messages:
        role = message["role"]
        if blocks and (role == "tool" or (role == blocks[0][0]["role"] and len(blocks) == 1)):
            blocks[-1].append(message)
        else:
            blocks.append([message])
    return blocks


def _texts(message: Message) -> list[str]:
    """Its words, and names and values of its calls. Reasoning of past turns may be left out."""
    content = message.get("content") or ""
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    for call in message.get("tool_calls") or ():
        arguments = call["function"]["arguments"]
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        texts += [call["function"]["name"], *arguments.values()]
    return [text.strip() for text in texts if text.strip()]


def _end_of(prompt: str, text: str, start: int) -> int | None:
    """Where the text ends behind `start`, as it is or as JSON has it."""
    for form in (text, json.dumps(text, ensure_ascii=False)[1:-1]):
        if (place := prompt.find(form, start)) >= 0:
            return place + len(form)
    return None
