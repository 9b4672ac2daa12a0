"""Tests of runtime.text.borders: where prompts part from each other, in tokens."""

from pathlib import Path
from typing import Any

import pytest

from runtime.splices import Splices
from runtime.text.__main__ import Worker
from runtime.text_messages import EncodePrompt, Tokens
from tests.models.tiny_models import make_tokenizer

from . import real_templates
from .conversations import Message, assistant, system, user
from .written import definitions

_SYSTEM = system("Be brief, as a grumblewort is.")
_ASK = "Where do zebrafinches roost?"
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# Of real ones, those that say the same in another place when a turn is over.
_MOVING = {
    "CohereForAI-c4ai-command-r-plus-tool_use",
    "Mistral-Small-3.2-24B-Instruct-2506",
    "mistralai-Mistral-Nemo-Instruct-2407",
}


class Asked:
    """A template, asked as a client does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worker = Worker()
        self._splices = Splices()

    def prompt(self, *messages: Message, **options: Any) -> Tokens | None:
        """None for a conversation that it does not take."""
        input = real_templates.request_of({"messages": list(messages), **options}).input
        known = self._splices.find(self._folder, input)
        reply = self._worker.reply(EncodePrompt(str(self._folder), input, None, 30, known))
        if not isinstance(reply, Tokens):
            return None
        self._splices.read(self._folder, input, reply)
        return reply

    def texts(self, *messages: Message, **options: Any) -> list[str]:
        """What stands before each border."""
        prompt = self.prompt(*messages, **options)
        assert prompt is not None and prompt.reading is not None
        tokenizer = self._worker._text(str(self._folder)).tokenizer
        return [tokenizer.decode(prompt.tokens[:border])[0] for border in prompt.borders]


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    make_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(_TEMPLATE)
    return Asked(tmp_path)


def test_they_stand_before_the_first_user_and_behind_the_last_message(asked: Asked) -> None:
    """Also in later turns, where the first is not looked for again; and behind a result."""
    first = f"<|im_start|>system\n{_SYSTEM['content']}<|im_end|>\n<|im_start|>user\n"
    talk = [_SYSTEM, user(_ASK)]
    last = f"{first}{_ASK}<|im_end|>\n"
    for answer in ("In shrubs.", "On limbs."):
        assert asked.texts(*talk) == [first, last]
        talk += [assistant(answer), user("And then?")]
        last += (
            f"<|im_start|>assistant\n{answer}<|im_end|>\n<|im_start|>user\nAnd then?<|im_end|>\n"
        )
    other = asked.texts(_SYSTEM, user("Who?"))
    assert other[0] == first


def test_they_are_rounded_down_to_a_token(asked: Asked) -> None:
    """White space that the user begins with is none of the border's; nothing is told twice."""
    (border, _) = asked.texts(user("\n\nHello"))
    assert border == "<|im_start|>user\n"
    assert asked.texts(assistant("Ahoy"), add_generation_prompt=True) == [
        "<|im_start|>assistant\nAhoy<|im_end|>\n"
    ]


def test_an_answer_that_is_gone_on_with_is_behind_the_border(asked: Asked) -> None:
    texts = asked.texts(user(_ASK), assistant("In shrubs, th"))
    assert texts[1] == f"<|im_start|>user\n{_ASK}<|im_end|>\n"
    assert asked.texts(user(_ASK), add_generation_prompt=False) == ["<|im_start|>user\n"]


@pytest.mark.slow
def test_every_real_template_has_them(tmp_path: Path) -> None:
    """Other conversations begin with what stands before the first, the next turn with both."""
    parted: list[tuple[str, bool]] = []
    far: list[tuple[str, bool, str]] = []
    num_asked = 0
    for name, template in real_templates.make_all(tmp_path).items():
        for options in ({}, {"tools": definitions()}):
            asked = Asked(template.folder)
            prompt = asked.prompt(_SYSTEM, user(_ASK), **options)
            other = asked.prompt(_SYSTEM, user("Ocelots, plimsoll?"), **options)
            later = asked.prompt(
                _SYSTEM, user(_ASK), assistant("In quiverwood shrubs."), user("And?"), **options
            )
            if prompt is None or other is None or later is None:
                continue
            num_asked += 1
            assert 1 <= len(prompt.borders) <= 2 and prompt.borders == sorted(prompt.borders)
            assert 0 < prompt.borders[0] and prompt.borders[-1] < len(prompt.tokens)
            first, last = prompt.borders[0], prompt.borders[-1]
            assert other.tokens[:first] == prompt.tokens[:first], name
            before = template.text(prompt.tokens[:first])
            behind = template.text(prompt.tokens)[len(before) :]
            if behind.find(_ASK) not in range(12):
                far.append((name, bool(options), behind[:60]))
            if later.tokens[:last] != prompt.tokens[:last]:
                parted.append((name, bool(options)))
    assert num_asked > 130 and far == []
    # Only where a template puts the system text or the tools before the last message of a user.
    assert {name for name, _ in parted} <= _MOVING
