"""Tests of runtime.prompt: an answer comes back in the next turn in the tokens that were drawn."""

import os
import signal

from registry.checkpoint.model import Model
from runtime.events import TextDelta
from runtime.pool import ModelPool
from runtime.requests import (
    ChatInput,
    ChatMessage,
    TextInput,
)
from tests import processes
from tests.runtime.asking import kill
from tests.runtime.talking import asking, chat, prompt_of, told, turn


async def test_a_turn_begins_with_all_that_was_drawn(pool: ModelPool, model: Model) -> None:
    """Though its text is tokenised otherwise; also when engine and workers died in between."""
    talk, before = ["Hello"], list[int]()
    for _ in range(3):
        now = await turn(pool, model, talk)
        assert now[: len(before)] == before
        before = now
        kill(pool, model)
        os.kill(processes.children("runtime.text")[0].pid, signal.SIGKILL)
    plain = await pool.tokenize(model, chat(*talk))
    spliced = await prompt_of(pool, model, chat(*talk))
    assert spliced[: len(before)] == before != plain[: len(before)]
    decoded = [await pool.detokenize(model, tuple(ids)) for ids in (plain, spliced)]
    assert decoded[0].text == decoded[1].text


async def test_an_answer_that_was_left_comes_back(pool: ModelPool, model: Model) -> None:
    """As far as it was told, when its client goes on with it."""
    async with await pool.begin(model, asking(chat("Hello"))) as generation:
        text = ""
        async for event in generation.follow():
            if isinstance(event, TextDelta):
                text += event.text
                break
        prompt = generation.prompt
    size = len(prompt) + len(generation.drawn)
    assert generation.drawn
    text = (await pool.detokenize(model, tuple(generation.drawn))).text
    now = await prompt_of(pool, model, chat("Hello", text, "Go on"))
    assert now[:size] == [*prompt, *generation.drawn]


async def test_each_of_several_answers_may_come_back(pool: ModelPool, model: Model) -> None:
    generations = await pool.begin_all(model, asking(chat("Hello"), num_answers=3))
    answers = [await told(generation) for generation in generations]
    assert len({text for _, text in answers}) == 3
    for drawn, text in answers:
        before = [*generations[0].prompt, *drawn]
        now = await prompt_of(pool, model, chat("Hello", text, "Go on"))
        assert now[: len(before)] == before


async def test_a_text_goes_on_with_what_was_drawn(pool: ModelPool, model: Model) -> None:
    """For a text there is no template; what ends the answer is none of it."""
    async with await pool.begin(model, asking(TextInput("Once upon"))) as generation:
        drawn, text = await told(generation)
        before = [*generation.prompt, *drawn[:-1]]
    input = TextInput(f"Once upon{text}, and then")
    now = await prompt_of(pool, model, input)
    assert now[: len(before)] == before != (await pool.tokenize(model, input))[: len(before)]


async def test_other_files_forget_it(pool: ModelPool, model: Model) -> None:
    """Of a tokenizer that was written anew the old tokens are nothing."""
    talk = ["Hello"]
    await turn(pool, model, talk)
    path = model.folder / "tokenizer.json"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))
    assert await prompt_of(pool, model, chat(*talk)) == await pool.tokenize(model, chat(*talk))


async def test_borders_reach_the_engine(pool: ModelPool, model: Model) -> None:
    """Before the first user's words, and behind the last message."""
    input = ChatInput((ChatMessage("system", "Be brief."), ChatMessage("user", "Hello")))
    async with await pool.begin(model, asking(input)) as generation:
        texts = [
            (await pool.detokenize(model, tuple(generation.prompt[:border]))).text
            for border in generation.borders
        ]
    before = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    assert texts == [before, f"{before}Hello<|im_end|>\n"]
