"""Tests of scripts.pocket.corpus: what is learnt, and that the exam stays unseen."""

import itertools
import string

import pytest

from scripts.pocket import corpus


def test_a_seed_fixes_the_corpus() -> None:
    """The same seed tells the same conversations; another one others."""
    first, again, other = (
        list(itertools.islice(corpus.conversations(seed), 200)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_conversations_alternate_and_have_no_open_slots() -> None:
    """Users ask, the assistant answers last, and nothing like {name} is left anywhere."""
    slots = {"{name}", "{topic}", "{word}", "{text}", "{country}", "{task}", "{a}", "{b}"}
    for conversation in itertools.islice(corpus.conversations(3), 5000):
        turns = [message.role for message in conversation if message.role != "system"]
        assert turns == ["user", "assistant"] * (len(turns) // 2) and turns
        assert not any(slot in message.content for message in conversation for slot in slots)
        assert all(message.content.strip() for message in conversation)


def test_held_out_questions_are_never_drawn() -> None:
    """Or the scores would say how well Pocket remembers, not how well it understands."""
    held_out = {
        normal(question)
        for questions in corpus.read("heldout")["intents"].values()
        for question in questions
    }
    held_out |= {normal(opening) for opening in first_words()}
    drawn = {
        normal(message.content)
        for conversation in itertools.islice(corpus.conversations(4), 30_000)
        for message in conversation
    }
    assert not held_out & drawn


def test_the_held_out_first_words_are_200_different_ones() -> None:
    """What a percentage of them means does not move unseen."""
    openings = first_words()
    assert len(openings) == len({opening.lower() for opening in openings}) == 200


def first_words() -> list[str]:
    return [words for kind in corpus.read("heldout_casual").values() for words in kind["openings"]]


def normal(question: str) -> str:
    return question.lower().strip(string.punctuation + " ")


@pytest.mark.parametrize(
    ("phrasing", "sentences"),
    [
        ("Hello", ["Hello"]),
        ("[Hi|Hello] there[.|!|]", ["Hi there.", "Hi there!", "Hi there", "Hello there.",
                                    "Hello there!", "Hello there"]),
        ("What does [DONE] mean?", ["What does [DONE] mean?"]),
    ],
)  # fmt: skip
def test_expand(phrasing: str, sentences: list[str]) -> None:
    """Choices multiply; brackets without a bar are text."""
    assert corpus.expand(phrasing) == sentences


def test_every_intent_has_many_ways_to_be_asked_for() -> None:
    """Few phrasings are learnt by heart and understood nowhere else."""
    speaker = corpus.Speaker(0)
    topics = len(speaker.words["topic"]["ask"])
    for name, intent in speaker.intents.items():
        count = sum(len(corpus.expand(phrasing)) for phrasing in intent["ask"])
        assert count + topics * len(intent.get("topics", [])) >= 25, name
