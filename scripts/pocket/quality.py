"""What Pocket answers right: held-out phrasings by ability, and phrasings it was trained on."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mlx.core as mx
from mlx.nn.layers.quantized import quantize
from mlx_lm import batch_generate, load
from mlx_lm.sample_utils import make_sampler
from rich import box
from rich.console import Console
from rich.table import Table

from scripts.pocket import corpus
from scripts.pocket.corpus import Conversation, Message
from scripts.pocket.model import SERVED
from scripts.pocket.tokenizer import Encoder

SHIPPED = Path(__file__).parents[2] / "registry" / "pocket"


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation that waits for its last answer, and the answers that are right."""

    ability: str
    prompt: Conversation
    right: list[str]
    is_part: bool = False  # an answer that contains one of them is right

    def is_right(self, answer: str) -> bool:
        return answer in self.right or (self.is_part and any(part in answer for part in self.right))


def held_out_cases(seed: int = 0) -> Iterator[Case]:
    """The held-out phrasings; made-up names in them are new, for no training has this seed."""
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

    for phrasing in heldout["echo"]["ask"] * 12:
        text = f"{speaker.word()} {speaker.word()}"
        yield asked("words said again", phrasing.format(text=text), right=[text])

    for _ in range(24):
        words, name = speaker.words["persona"], speaker.name()
        slots = {"name": name, "role": draw(words["roles"]), "trait": draw(words["traits"])}
        system = Message("system", draw(heldout["persona"]["system"]).format(**slots))
        question = Message("user", draw(heldout["persona"]["ask"]))
        yield Case("persona", [system, question], [words["answer"].format(**slots)])


def sample_cases() -> Iterator[Case]:
    """The documentation page's own prompts; right is an answer that contains what it must."""
    for sample in corpus.read("heldout")["samples"]:
        system = [Message("system", sample["system"])] if "system" in sample else []
        yield Case(
            "sample prompts",
            [*system, Message("user", sample["ask"])],
            sample["parts"],
            is_part=True,
        )


# What answers any first words without misleading: a greeting, an offer of help, that it is not
# known or not understood, also for its language. Below, what else fits words of a kind.
_HARMLESS = ("hello", "good_morning", "how_are_you", "what_can_you_do", "acknowledged", "unclear",
             "languages")  # fmt: skip
_FITTING = {
    "greeting": ("good_night",),
    "help": ("bigger_model", "list_models", "who_are_you"),
    "identity": ("who_are_you", "are_you_human", "who_made_you", "your_size", "what_is_mlx_edge"),
    "thanks": ("thanks",),
    "ok": ("compliment", "thanks"),
    "bye": ("bye", "good_night"),
    "smalltalk": ("bored", "joke", "feelings", "compliment", "insult", "sad_user", "are_you_human",
                  "who_made_you"),
    "unknown": ("weather", "clock", "arithmetic"),
    "nonsense": (),
}  # fmt: skip


def casual_cases() -> Iterator[Case]:
    """Held-out first words, as people type them."""
    speaker = corpus.Speaker(0)
    not_known = speaker.words["unknown"]["answer"]
    for kind, words in corpus.read("heldout_casual").items():
        names = (*_HARMLESS, *_FITTING[kind])
        right = [not_known, *(a for name in names for a in speaker.intents[name]["answer"])]
        for opening in words["openings"]:
            yield Case("first words", [Message("user", opening)], right)


def trained_cases(seed: int = 0) -> Iterator[Case]:
    """Every intent, in one of the phrasings it was trained on."""
    speaker = corpus.Speaker(seed)
    for intent in speaker.intents.values():
        question = speaker.pick(intent["ask"]).format(a="17", b="25", word="Zamfir")
        yield Case("intents, as trained", [Message("user", question)], intent["answer"])


@dataclass(frozen=True, slots=True)
class Way:
    """How the model is run for a column of the table."""

    name: str
    temperature: float = 0.0
    top_p: float = 1.0
    bits: int | None = None  # weights quantised to these, in groups of 64


WAYS = (
    Way("greedy"),
    Way("as served", SERVED["temperature"], SERVED["top_p"]),
    Way("temperature 1", temperature=1.0),
    Way("8 bits", bits=8),
    Way("4 bits", bits=4),
)


def answers_to(
    folder: Path, prompts: list[Conversation], way: Way, max_tokens: int = 200
) -> list[str]:
    """The answers of the model in `folder`, computed in float32."""
    model, tokenizer = load(str(folder))[:2]
    model.set_dtype(mx.float32)
    if way.bits:
        quantize(model, group_size=64, bits=way.bits)
    encoder = Encoder(folder)
    mx.random.seed(0)
    answers: list[str] = batch_generate(
        model,
        tokenizer,
        [encoder.prompt(prompt) for prompt in prompts],
        max_tokens=max_tokens,
        sampler=make_sampler(way.temperature, way.top_p),
    ).texts
    return answers


@dataclass(slots=True)
class Score:
    """How many cases an ability has, and which were missed."""

    num_cases: int = 0
    misses: list[tuple[str, str]] = field(default_factory=list)  # question and answer

    @property
    def share(self) -> float:
        """Answered right, from 0 to 1."""
        return 1 - len(self.misses) / self.num_cases


def score(folder: Path, way: Way, cases: Sequence[Case]) -> dict[str, Score]:
    """The score of each ability, in the order of the cases."""
    answers = answers_to(folder, [case.prompt for case in cases], way)
    scores = {case.ability: Score() for case in cases}
    for case, answer in zip(cases, answers, strict=True):
        scores[case.ability].num_cases += 1
        if not case.is_right(answer):
            scores[case.ability].misses.append((case.prompt[-1].content, answer))
    return scores


def all_cases() -> list[Case]:
    return [*held_out_cases(), *casual_cases(), *sample_cases(), *trained_cases()]


def show_scores(console: Console, folder: Path = SHIPPED, *, with_misses: bool = False) -> None:
    """The table of the model card: a row for each ability, a column for each way to run."""
    cases = all_cases()
    columns = [score(folder, way, cases) for way in WAYS]
    table = Table("held-out", *(way.name for way in WAYS), box=box.MARKDOWN)
    for ability, first in columns[0].items():
        shares = (f"{100 * column[ability].share:.0f} %" for column in columns)
        table.add_row(f"{ability} ({first.num_cases})", *shares)
    if with_misses:
        for ability, result in columns[0].items():
            for question, answer in result.misses:
                console.print(f"{ability}: {question!r}: {answer!r}", markup=False)
    console.print(table)


if __name__ == "__main__":
    show_scores(Console())
