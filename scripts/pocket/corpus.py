"""The corpus of Pocket: an endless stream of conversations drawn from the files of `data/`.

The generator never reads the held-out phrasings in `heldout.toml`.
"""

import itertools
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.pocket.typing import Typist

DATA = Path(__file__).parent / "data"

# Sounds that made-up names are built from: a name never seen before can only be copied.
ONSETS = "b br c ch d dr f g gr h j k kl l m n p pr r s sh st t th tr v w y z".split()
VOWELS = "a e i o u ai ea ee io ou".split()
CODAS = ["", "", "", "l", "n", "r", "s", "t", "nd", "x", "m", "ck", "lo", "na", "ra", "mir", "dan"]
NAMES = (
    "Anna Ben Carla David Elena Felix Grace Hugo Ida Jonas Kate Leo Maria Nina Oscar Paul Quinn "
    "Rosa Sam Tom Uma Victor Wendy Xavier Yara Zoe Alice Bob Alex Emma Liam Noah Mia Lucas Sarah "
    "John Peter"
).split()


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


Conversation = list[Message]
Turns = list[tuple[str, str]]


def read(name: str) -> dict[str, Any]:
    """One data file of phrasings."""
    return tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))


def expand(phrasing: str) -> list[str]:
    """All the sentences that a phrasing stands for: `[a|b]` is a choice, `[a]` is plain text."""
    parts = re.split(r"\[([^\[\]]*\|[^\[\]]*)\]", phrasing)
    arms = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*arms)]


class Speaker:
    """Draws questions and answers from the data files, all from one random stream."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.typist = Typist(self.random)
        self.words = read("conversation")
        self.creative = read("creative")
        self.capitals = read("capitals")
        self.code = read("code")
        self.first_words = read("casual")
        self.intents = (
            read("runtime") | read("smalltalk") | read("facts") | self.creative["intents"]
            | self.first_words["intents"]
        )  # fmt: skip
        # Words of the answers, for exercises in copying.
        answers = " ".join(intent["answer"][0] for intent in self.intents.values())
        self.vocabulary = sorted(set(re.findall(r"[A-Za-z]{2,}", answers)))
        self._expanded: dict[str, list[str]] = {}

    def pick(self, phrasings: list[str]) -> str:
        """One sentence; every phrasing is equally likely, however many choices it holds."""
        phrasing = self.random.choice(phrasings)
        if phrasing not in self._expanded:
            self._expanded[phrasing] = expand(phrasing)
        return self.random.choice(self._expanded[phrasing])

    def word(self) -> str:
        """A made-up word, capitalised."""
        draw = self.random.choice
        syllables = range(self.random.choice((1, 2, 2, 3)))
        return "".join(draw(ONSETS) + draw(VOWELS) + draw(CODAS) for _ in syllables).capitalize()

    def name(self) -> str:
        return self.random.choice(NAMES) if self.random.random() < 0.3 else self.word()

    def number(self) -> str:
        return str(self.random.randint(3, self.random.choice((30, 300, 5000))))

    def about(self, topic: str) -> str:
        """A question after a topic."""
        question = self.pick(self.words["topic"]["ask"]).format(topic=topic)
        return question[:1].upper() + question[1:]

    # The turns of a conversation, one method for each kind.

    def intent(self) -> Turns:
        """A question with a fixed answer."""
        intent = self.intents[self.random.choice(sorted(self.intents))]
        if "topics" in intent and self.random.random() < 0.4:
            question = self.about(self.random.choice(intent["topics"]))
        else:
            question = self.pick(intent["ask"]).replace("{a}", self.number())
            question = question.replace("{word}", self.word())
        return [(question.replace("{b}", self.number()), self.random.choice(intent["answer"]))]

    def casual(self) -> Turns:
        """First words, as people type them to somebody they do not know."""
        more, often = self.first_words["asks"], self.first_words["often"]
        names = [*more, *self.first_words["intents"], "unknown"]
        (name,) = self.random.choices(names, [often.get(name, 1) for name in names])
        if name == "unknown":
            question = self.filled(self.first_words["unknown"]["ask"])
            return [(self.typist.hurried(question.strip()), self.words["unknown"]["answer"])]
        intent = self.intents[name]
        question = self.pick(more[name] if name in more else intent["ask"])
        for slot, draw in (("{a}", self.number), ("{b}", self.number), ("{word}", self.word)):
            while slot in question:
                question = question.replace(slot, draw(), 1)
        return [(self.typist.hurried(question), self.random.choice(intent["answer"]))]

    def geography(self) -> Turns:
        """A capital, mostly followed by its population, sometimes by the next country."""
        data, turns = self.capitals, []
        country, (capital, people) = self.random.choice(list(data["cities"].items()))
        population = data["answer_population"].format(capital=capital, population=people)
        if self.random.random() < 0.15:
            return [(self.pick(data["ask_city"]).format(capital=capital), population)]
        answer = data["answer"].format(country=country, capital=capital)
        turns.append((self.pick(data["ask"]).format(country=country), answer))
        if self.random.random() < 0.7:
            turns.append((self.pick(data["ask_population"]), population))
        if self.random.random() < 0.25:
            country, (capital, people) = self.random.choice(list(data["cities"].items()))
            answer = data["answer"].format(country=country, capital=capital)
            turns.append((self.pick(data["ask_next"]).format(country=country), answer))
            population = data["answer_population"].format(capital=capital, population=people)
            turns.append((self.pick(data["ask_population"]), population))
        return turns

    def programming(self) -> Turns:
        function = self.random.choice(self.code["functions"])
        question = self.pick(self.code["ask"]).format(task=self.random.choice(function["tasks"]))
        return [(question, self.code["answer"].replace("{code}", function["code"]))]

    def completion(self) -> Turns:
        data = self.creative["complete"]
        start, sentence = self.random.choice(list(data["sentences"].items()))
        start += self.random.choice(data["endings"])
        return [(self.pick(data["ask"]).format(start=start), sentence)]

    def story(self) -> Turns:
        """A story from a skeleton; its hero and name are those of the question, if it has any."""
        data, draw = self.creative["story"], self.random.choice
        ask = self.pick(data["ask_any"] if self.random.random() < 0.4 else data["ask"])
        slots = {"hero": draw(data["heroes"]), "name": self.name(), "trait": draw(data["traits"])}
        plot = draw(data["plots"]).format(
            **slots,
            place=draw(data["places"]),
            thing=draw(data["things"]),
            friend=draw(data["friends"]),
        )
        return [(ask.format(**slots), plot)]

    def unknown(self) -> Turns:
        data, draw = self.words["unknown"], self.random.choice
        if self.random.random() < 0.3:
            return [(self.about(draw(("", "", "the ", "a ")) + self.word()), data["answer"])]
        return [(self.filled(data["ask"]), data["answer"])]

    def filled(self, phrasings: list[str]) -> str:
        """A question after what Pocket was never taught, about things and made-up names."""
        data, draw = self.words["unknown"], self.random.choice
        return self.pick(phrasings).format(
            name=self.name(), surname=self.word(), word=self.word(), thing=draw(data["things"]),
            kin=draw(data["kin"]), year=self.random.randint(1200, 2090), a=draw(("a", "the")),
        )  # fmt: skip

    def named(self) -> Turns:
        """A name, up to three other turns, and the question for the name."""
        data, name = self.words["name"], self.name()
        told = (self.pick(data["tell"]).format(name=name), data["told"].format(name=name))
        between = [
            turn for _ in range(self.random.choice((0, 0, 1, 2, 3))) for turn in self.intent()
        ]
        return [told, *between, (self.pick(data["recall"]), data["recalled"].format(name=name))]

    def echo(self) -> Turns:
        """A few words to say again."""
        words = [
            self.word() if self.random.random() < 0.5 else self.random.choice(self.vocabulary)
            for _ in range(self.random.choice((1, 1, 2, 3, 4, 6)))
        ]
        text = " ".join(words)
        if self.random.random() < 0.2:
            text = self.number()
        return [(self.random.choice(self.words["echo"]["ask"]).format(text=text), text)]

    def unnamed(self) -> Turns:
        data = self.words["name"]
        return [(self.pick(data["recall"]), data["never_told"])]

    # The conversation around them.

    def persona(self) -> Conversation:
        data, draw = self.words["persona"], self.random.choice
        slots = {"name": self.name(), "role": draw(data["roles"]), "trait": draw(data["traits"])}
        system = Message("system", self.pick(data["system"]).format(**slots))
        turns: Turns = [(self.colour(self.pick(data["ask"])), data["answer"].format(**slots))]
        return [system, *messages(turns)]

    def colour(self, question: str) -> str:
        """A question as people type it: polite, hasty, with a slip of the finger."""
        roll = self.random.random
        if roll() < 0.15:
            return self.typist.hurried(question)
        if roll() < 0.15:
            opener = self.random.choice(self.words["openers"])
            keep = opener.endswith(". ") or question[:2].isupper() or question[:2] in ("I ", "I'")
            question = opener + (question if keep else question[:1].lower() + question[1:])
        if roll() < 0.06:
            question += self.random.choice(self.words["closers"])
        if roll() < 0.12 and len(question) > 12:
            question = self.typist.slip(question)
        if roll() < 0.15:
            question = question.lower()
        if roll() < 0.15:
            question = question.rstrip("?.!") or question
        return question if roll() > 0.015 else question.upper()

    def system(self, kind: str) -> list[Message]:
        if self.random.random() < 0.45:
            return []
        known = self.words["coding_systems" if kind == "programming" else "systems"]
        return [Message("system", self.random.choice(known))]

    def conversation(self, kind: str) -> Conversation:
        """One to a few turns; the first is of the given kind."""
        if kind == "persona":
            return self.persona()
        turns = self.turns(kind)
        while self.random.random() < 0.3:
            turns += self.turns(self.random.choice(KINDS))
        return [*self.system(kind), *messages(turns)]

    def long_conversation(self, num_turns: int) -> Conversation:
        """Many turns on end, so that positions far into the context are trained."""
        turns: Turns = []
        while len(turns) < num_turns:
            turns += self.turns(self.random.choice(KINDS))
        return [*self.system("intent"), *messages(turns)]

    def turns(self, kind: str) -> Turns:
        make: Callable[[], Turns] = getattr(self, kind)
        turns = make()
        # The answer would copy a slip; first words have theirs already.
        if kind in ("named", "completion", "echo", "casual"):
            return turns
        return [(self.colour(question), answer) for question, answer in turns]


# How often each kind opens a conversation. Intents come first: there are most of them to learn.
WEIGHTS = {
    "intent": 42, "casual": 28, "geography": 8, "programming": 6, "completion": 5, "story": 5,
    "unknown": 11, "named": 9, "echo": 5, "unnamed": 2, "persona": 7,
}  # fmt: skip
KINDS = [
    kind
    for kind, weight in WEIGHTS.items()
    for _ in range(weight)
    if kind not in ("persona", "unnamed")
]


def messages(turns: Turns) -> Conversation:
    """Turns as messages."""
    return [
        Message(role, content)
        for turn in turns
        for role, content in zip(("user", "assistant"), turn, strict=True)
    ]


def conversations(seed: int) -> Iterator[Conversation]:
    """The endless corpus of a seed."""
    speaker = Speaker(seed)
    while True:
        (kind,) = speaker.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        yield speaker.conversation(kind)


def long_conversations(seed: int) -> Iterator[Conversation]:
    """The endless corpus of long conversations of a seed."""
    speaker = Speaker(seed)
    while True:
        yield speaker.long_conversation(speaker.random.randint(20, 45))
