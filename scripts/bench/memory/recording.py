"""An agent's session as it comes over the wire: 21 requests, each with all that was said before.

In size and form it follows what coding agents were seen to send: a system prompt of several parts,
tools whose schemas take thousands of tokens, two user messages in a row, a system message in the
middle, calls with text before them, results of a few lines or of a whole file. The words are ours;
files and listings are drawn from a seed, so every run reads the same.
"""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]
Body: TypeAlias = dict[str, Any]

NUM_REQUESTS = 21
_NOTES = 380  # sentences about the project, in the system prompt

_RULES = (
    "You work in the user's repository, with the tools that are listed. Say what you are about to "
    "do in one sentence, do it, and tell in the end what changed and how it was checked.\n"
    "Read a file before you change it. Change as little as the task asks for. Keep to the style of "
    "the file: its names, its comments, its line length. Never write a secret into a file, and "
    "never commit unless you were asked to.\n"
    "Search with the tools for that and not with the shell. Run the tests that touch what you "
    "changed, then those beside them. When a command fails, read its whole output before you try "
    "another one; do not repeat a command that failed with nothing changed.\n"
    "If the task is not clear, ask one question. If a result is cut, ask for the rest of it."
)
_TASK = (
    "The importer loses the last row of a table when the file has no newline at its end. Find out "
    "why, mend it, and add a test that fails without the change."
)
_SUBJECTS = ("The importer", "The scheduler", "A worker", "The index", "Each record", "The cache")
_VERBS = ("keeps", "reads", "writes", "checks", "drops", "returns", "sorts", "merges")
_OBJECTS = ("rows by their key", "one batch at a time", "the header first", "what has changed",
            "names in lower case", "times in UTC", "errors with their line", "a copy of the table",
            "paths below the root", "numbers as decimals")  # fmt: skip
_WHENS = ("", " before it returns", " unless the file is empty", " when two of them meet",
          " after every restart", " and says so in the log")  # fmt: skip
_TOOLS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "read_file": ("Reads a file, or some of its lines.", ("path", "first_line", "num_lines")),
    "write_file": ("Writes a whole file, which must have been read.", ("path", "content")),
    "edit_file": ("Replaces one text in a file.", ("path", "old_text", "new_text", "every_place")),
    "list_files": ("Lists files by a pattern.", ("pattern", "path", "limit")),
    "search": ("Searches contents by a regular expression.",
               ("pattern", "path", "glob", "context_lines", "limit")),
    "run": ("Runs a command in the shell.", ("command", "timeout_s", "description")),
    "fetch": ("Fetches a page and answers a question about it.", ("url", "question")),
    "plan": ("Notes the steps of a task and how far each is.", ("steps", "current")),
    "ask": ("Asks the user one question.", ("question", "choices")),
    "delegate": ("Has another agent look into something.", ("task", "description", "kind")),
}  # fmt: skip
# What the agent did, step by step: its words, the tool, the arguments, lines of the result.
_STEPS: Sequence[tuple[str, str, Mapping[str, Any], int]] = (
    ("I look for the importer first.", "list_files", {"pattern": "**/*import*.py"}, 8),
    ("The reader is where rows are split.", "read_file", {"path": "table/reader.py"}, 34),
    ("", "search", {"pattern": "splitlines|readline", "path": "table"}, 12),
    ("Rows end in one place only.", "read_file", {"path": "table/rows.py"}, 40),
    ("", "read_file", {"path": "tests/table/test_rows.py"}, 30),
    ("I run the tests as they are.", "run", {"command": "pytest -q tests/table"}, 10),
    ("", "plan", {"steps": ["a failing test", "the change", "all tests"], "current": 0}, 1),
    ("A test that fails comes first.", "edit_file",
     {"path": "tests/table/test_rows.py", "old_text": "", "new_text": "def test_last_row(): ..."},
     2),
    ("", "run", {"command": "pytest -q tests/table -k last_row"}, 18),
    ("It fails as expected. Now the buffer.", "read_file", {"path": "table/buffer.py"}, 44),
    ("", "search", {"pattern": "def flush", "path": "."}, 9),
    ("The rest of the buffer is dropped when the file ends.", "edit_file",
     {"path": "table/rows.py", "old_text": "return rows", "new_text": "return rows + rest"}, 2),
    ("", "run", {"command": "pytest -q tests/table"}, 14),
    ("One other test counts rows.", "read_file", {"path": "tests/table/test_counts.py"}, 26),
    ("", "edit_file", {"path": "tests/table/test_counts.py", "old_text": "3", "new_text": "4"}, 2),
    ("", "run", {"command": "pytest -q tests"}, 22),
    ("Someone else may read rows this way.", "search", {"pattern": "read_rows"}, 16),
    ("", "read_file", {"path": "jobs/nightly.py", "first_line": 40, "num_lines": 30}, 30),
    ("It is not touched by this. The style is checked last.", "run", {"command": "ruff check"}, 3),
    ("", "run", {"command": "git diff --stat"}, 4),
)  # fmt: skip
assert len(_STEPS) + 1 == NUM_REQUESTS


def tools() -> list[dict[str, Any]]:
    """Functions as OpenAI's API has them, described at the length that agents describe theirs."""
    draw = random.Random(2)
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": " ".join([told, *(_sentence(draw) for _ in range(30))]),
                "parameters": {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "type": "object",
                    "properties": {argument: _argument(argument, draw) for argument in arguments},
                    "required": [arguments[0]],
                    "additionalProperties": False,
                },
            },
        }
        for name, (told, arguments) in _TOOLS.items()
    ]


def _argument(name: str, draw: random.Random) -> dict[str, Any]:
    told = {"description": f"{name.replace('_', ' ')}: {_sentence(draw)} {_sentence(draw)}"}
    if name in ("first_line", "num_lines", "limit", "context_lines", "timeout_s", "current"):
        return told | {"type": "integer", "minimum": 0, "maximum": 9007199254740991}
    if name == "every_place":
        return told | {"type": "boolean", "default": False}
    if name in ("steps", "choices"):
        return told | {"type": "array", "items": {"type": "string"}}
    return told | {"type": "string"}


def openai_bodies() -> list[Body]:
    """As `POST /v1/chat/completions` takes them, without model and length."""
    system, notes = _system()
    messages: list[Message] = [
        {"role": "system", "content": f"{system}\n\n{notes}"},
        {"role": "user", "content": _reminder()},
        {"role": "user", "content": _TASK},
    ]
    bodies = []
    for number in range(NUM_REQUESTS):
        bodies.append({"messages": list(messages), "tools": tools(), "tool_choice": "auto"})
        if number < len(_STEPS):
            said, name, arguments, _ = _STEPS[number]
            call = {
                "id": f"call_{number:04d}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            messages.append({"role": "assistant", "content": said or None, "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result(number)})
    return bodies


def anthropic_bodies() -> list[Body]:
    """As `POST /v1/messages` takes them: the mark where to cache moves on with every request."""
    mark = {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": text} | mark for text in _system()]
    messages: list[Message] = [
        {"role": "user", "content": [_text(_reminder()), _text(_TASK)]},
        {"role": "system", "content": "The user's shell is bash."},
    ]
    offered = [
        {
            "name": tool["function"]["name"],
            "description": tool["function"]["description"],
            "input_schema": tool["function"]["parameters"],
        }
        for tool in tools()
    ]
    bodies = []
    for number in range(NUM_REQUESTS):
        *before, last = messages
        content = last["content"]
        if isinstance(content, list):
            content = [*content[:-1], content[-1] | mark]
        now = [*before, last | {"content": content}]
        bodies.append({"system": system, "messages": now, "tools": offered})
        if number < len(_STEPS):
            said, name, arguments, _ = _STEPS[number]
            use = {"type": "tool_use", "id": f"toolu_{number:04d}", "name": name}
            blocks = [*([_text(said)] if said else []), use | {"input": dict(arguments)}]
            answer = {"type": "tool_result", "tool_use_id": use["id"], "content": result(number)}
            messages.append({"role": "assistant", "content": blocks})
            messages.append({"role": "user", "content": [answer]})
    return bodies


def result(number: int) -> str:
    """What a step's tool gave back."""
    draw = random.Random(100 + number)
    return "\n".join(
        f"{line + 1:5d}  {_sentence(draw).lower().replace(' ', '_', 2)}"
        for line in range(_STEPS[number][3])
    )


def tools_and_texts() -> list[str]:
    """All the words of a session, for a tokenizer that has them in its vocabulary."""
    last = openai_bodies()[-1]
    return [json.dumps(last["tools"]), *(str(message["content"]) for message in last["messages"])]


def _system() -> tuple[str, str]:
    draw = random.Random(1)
    notes = [_sentence(draw) for _ in range(_NOTES)]
    return _RULES, "Notes on this repository:\n" + "\n".join(f"- {note}" for note in notes)


def _reminder() -> str:
    draw = random.Random(3)
    return "Files that are open:\n" + "\n".join(_sentence(draw) for _ in range(12))


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _sentence(draw: random.Random) -> str:
    parts = (_SUBJECTS, _VERBS, _OBJECTS)
    subject, verb, thing = (draw.choice(part) for part in parts)
    return f"{subject} {verb} {thing}{draw.choice(_WHENS)}."
