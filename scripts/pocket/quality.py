"""What Pocket answers right: held-out phrasings by ability, and phrasings it was trained on."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from mlx_lm import batch_generate, load

from scripts.pocket import corpus
from scripts.pocket.corpus import Conversation, Message
from scripts.pocket.tokenizer import Encoder


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation that waits for its last answer, and the answers that are right."""

    ability: str
    prompt: Conversation
    right: list[str]


def held_out_cases(seed: int = 0) -> Iterator[Case]:
    """The held-out phrasings, with slots that no run has drawn."""
    heldout, speaker = corpus.read("heldout"), corpus.Speaker(seed)
    draw = speaker.random.choice

    def asked(ability: str, *turns: str, right: list[str]) -> Case:
        roles = itertools.cycle(("user", "assistant"))
        return Case(ability, [Message(next(roles), turn) for turn in turns], right)

    for intent, questions in heldout["intents"].items():
        for question in questions:
            yield asked("intents", question, right=speaker.intents[intent]["answer"])

    geography = speaker.capitals
    for country, (capital, population) in geography["cities"].items():
        question = draw(heldout["capitals"]["capital"]).format(country=country)
        answer = geography["answer"].format(country=country, capital=capital)
        last = geography["answer_population"].format(capital=capital, population=population)
        yield asked("capital", question, right=[answer])
        follow_up = draw(heldout["capitals"]["population"])
        yield asked("its population", question, answer, follow_up, right=[last])

    for function in speaker.code["functions"]:
        question = draw(heldout["code"]["ask"]).format(task=function["tasks"][0])
        yield asked("code", question, right=[speaker.code["answer"].format(**function)])

    for phrasing in heldout["unknown"]["ask"] * 4:
        question = phrasing.format(name=speaker.name(), word=speaker.word())
        yield asked("I do not know", question, right=[speaker.words["unknown"]["answer"]])

    for _ in range(24):
        words, name = speaker.words["name"], speaker.name()
        told = draw(heldout["name"]["tell"]).format(name=name)
        recall, right = draw(heldout["name"]["recall"]), [words["recalled"].format(name=name)]
        yield asked("remembered name", told, words["told"].format(name=name), recall, right=right)

    for _ in range(24):
        words, name = speaker.words["persona"], speaker.name()
        slots = {"name": name, "role": draw(words["roles"]), "trait": draw(words["traits"])}
        system = Message("system", draw(heldout["persona"]["system"]).format(**slots))
        question = Message("user", draw(heldout["persona"]["ask"]))
        yield Case("persona", [system, question], [words["answer"].format(**slots)])


def trained_cases(seed: int = 0) -> Iterator[Case]:
    """Every intent, in one of the phrasings it was trained on."""
    speaker = corpus.Speaker(seed)
    for intent in speaker.intents.values():
        question = speaker.pick(intent["ask"]).format(a="17", b="25")
        yield Case("intents, as trained", [Message("user", question)], intent["answer"])


def answers_to(folder: Path, prompts: list[Conversation], max_tokens: int = 200) -> list[str]:
    """Greedy answers of the model in `folder`, in float32."""
    model, tokenizer = load(str(folder))[:2]
    model.set_dtype(mx.float32)
    encoder = Encoder(folder)
    answers: list[str] = batch_generate(
        model, tokenizer, [encoder.prompt(prompt) for prompt in prompts], max_tokens=max_tokens
    ).texts
    return answers


def score(folder: Path) -> None:
    """Print what is answered exactly right, by ability, and every miss."""
    cases = [*trained_cases(), *held_out_cases()]
    scores: dict[str, list[bool]] = {}
    answers = answers_to(folder, [case.prompt for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        scores.setdefault(case.ability, []).append(answer in case.right)
        if answer not in case.right:
            print(f"{case.ability}: {case.prompt[-1].content!r}: {answer!r}")
    for ability, right in scores.items():
        print(f"| {ability} | {sum(right)}/{len(right)} |")
