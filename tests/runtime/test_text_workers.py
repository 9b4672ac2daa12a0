"""Tests of runtime.text_workers: templates that never end cost their own request only."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from runtime.errors import Draining, InvalidRequest, TemplateFailed, TextRefused, Unavailable
from runtime.processes.child import Child
from runtime.requests import ChatInput, ChatMessage, Constraint
from runtime.text_workers import TextSettings, TextWorkers
from tests import processes
from tests.models.tiny_encoders import make_wordpiece
from tests.models.tiny_models import make_tokenizer

HELLO = ChatInput((ChatMessage("user", "Hello you"),))
LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
async def workers() -> AsyncGenerator[TextWorkers, None]:
    workers = TextWorkers(TextSettings(deadline_s=1.5))
    await workers.start()
    yield workers
    await workers.close()
    assert not processes.children("runtime.text")


def model(folder: Path, template: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    make_tokenizer(folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


async def test_messages_become_tokens(workers: TextWorkers, tmp_path: Path) -> None:
    """The same tokens as transformers' own tokenizer gives."""
    from transformers import PreTrainedTokenizerFast

    folder = model(tmp_path)
    oracle = PreTrainedTokenizerFast.from_pretrained(folder)
    expected = oracle.apply_chat_template(
        [{"role": "user", "content": "Hello you"}], add_generation_prompt=True, return_dict=False
    )
    assert (await workers.encode(folder, HELLO)).tokens == expected


@pytest.mark.parametrize(
    "bomb",
    [LOOPS, "{{ 9 ** (9 ** 9) }}", "{% for i in range(9999) %}{{ 'a' * 10000000 }}{% endfor %}"],
    ids=["loop", "power", "memory"],
)
async def test_a_bomb_delays_nobody(workers: TextWorkers, tmp_path: Path, bomb: str) -> None:
    """While bombs run into their deadline, another model's requests go on as ever."""
    good, bad = model(tmp_path / "good"), model(tmp_path / "bad", bomb)
    await workers.encode(good, HELLO)
    bombs = [asyncio.create_task(workers.encode(bad, HELLO)) for _ in range(3)]
    count = 0
    while not all(task.done() for task in bombs):
        async with asyncio.timeout(1.2):  # less than one bomb's deadline
            await workers.encode(good, HELLO)
        count += 1
        await asyncio.sleep(0.01)
    assert count
    for task in bombs:
        assert isinstance(task.exception(), TemplateFailed)


async def test_a_constraint_is_named_where_it_is_refused(
    workers: TextWorkers, tmp_path: Path
) -> None:
    """Also where the worker ran into its deadline."""
    good, bad = model(tmp_path / "good"), model(tmp_path / "bad", LOOPS)
    form = (await workers.encode(good, HELLO, Constraint("regex", "[ab]", "guided_regex"))).form
    assert form.grammar is not None and "[ab]" in form.grammar
    for folder, pattern in ((good, "["), (bad, "a")):
        with pytest.raises(InvalidRequest) as refused:
            await workers.encode(folder, HELLO, Constraint("regex", pattern, "guided_regex"))
        assert refused.value.param == "guided_regex"


async def test_a_killed_worker_costs_nothing(workers: TextWorkers, tmp_path: Path) -> None:
    """A job whose worker dies is done again by another."""
    folder = model(tmp_path)
    await workers.encode(folder, HELLO)
    os.kill(processes.children("runtime.text")[0].pid, signal.SIGKILL)
    for _ in range(4):
        assert await workers.encode(folder, HELLO)


async def test_a_caller_that_leaves_frees_its_worker(workers: TextWorkers, tmp_path: Path) -> None:
    """Cancelled in the middle of a bomb, the next job neither waits nor gets a wrong reply."""
    good, bad = model(tmp_path / "good"), model(tmp_path / "bad", LOOPS)
    expected = await workers.encode(good, HELLO)
    for _ in range(4):
        task = asyncio.create_task(workers.encode(bad, HELLO))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait({task})
        assert await workers.encode(good, HELLO) == expected


async def test_a_long_prompt_is_not_a_bomb(workers: TextWorkers, tmp_path: Path) -> None:
    """A megabyte of one letter, and of text, takes its time and is read."""
    folder = model(tmp_path)
    for text in ("a" * 1_000_000, "Hello world. " * 80_000):
        encoded = await workers.encode(folder, ChatInput((ChatMessage("user", text),)))
        assert len(encoded.tokens) > 10_000


async def test_a_changed_template_is_read_anew(workers: TextWorkers, tmp_path: Path) -> None:
    """A model registered again under its folder does not keep its old template."""
    folder = model(tmp_path)
    before = await workers.encode(folder, HELLO)
    time.sleep(0.01)
    (folder / "chat_template.jinja").write_text("something else")
    for _ in range(4):
        assert (await workers.encode(folder, HELLO)).tokens not in (before, [])


async def test_killed_idle_workers_are_not_given_work(workers: TextWorkers, tmp_path: Path) -> None:
    """kill -9 of all of them: the next request is read by a new one, as if nothing was."""
    folder = model(tmp_path)
    await workers.encode(folder, HELLO)
    for process in processes.children("runtime.text"):
        os.kill(process.pid, signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert await workers.encode(folder, HELLO)


async def test_no_worker_is_started_for_a_request_that_close_interrupts(tmp_path: Path) -> None:
    """Its worker ends under it, and is not replaced; the request is told."""
    workers = TextWorkers(TextSettings(num_workers=1, deadline_s=30))
    await workers.start()
    while not workers._idle:
        await asyncio.sleep(0.01)
    request = asyncio.create_task(workers.encode(model(tmp_path, LOOPS), HELLO))
    while workers._idle:  # until it is asked of the worker
        await asyncio.sleep(0.01)
    await workers.close()
    assert not workers.is_alive
    with pytest.raises(Draining):
        await request
    assert not processes.children("runtime.text")


async def test_without_workers_requests_are_told_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no process can be started, a request is refused for now instead of waiting for ever."""

    async def fails(*_: str) -> Child:
        raise OSError("no more processes")

    monkeypatch.setattr(Child, "spawn", fails)
    workers = TextWorkers(TextSettings(take_s=0.1))
    await workers.start()
    with pytest.raises(Unavailable):
        await workers.encode(model(tmp_path), HELLO)
    await workers.close()


async def test_two_unknown_bombs_leave_a_worker_to_others(
    workers: TextWorkers, tmp_path: Path
) -> None:
    """Folders that never answered well share one worker; a proven one has the other."""
    good = model(tmp_path / "good")
    await workers.encode(good, HELLO)
    bombs = [
        asyncio.create_task(workers.encode(model(tmp_path / name, LOOPS), HELLO))
        for name in ("one", "two")
    ]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(1.2):  # less than a bomb's deadline
        assert await workers.encode(good, HELLO)
    for bomb in bombs:
        with pytest.raises(TemplateFailed):
            await bomb


async def test_a_long_prompt_does_not_hold_up_a_short_one(
    workers: TextWorkers, tmp_path: Path
) -> None:
    """Of the same model: the short one is read beside it."""
    folder = model(tmp_path)
    await workers.encode(folder, HELLO)
    text = "Hello world. " * 200_000
    long = asyncio.create_task(workers.encode(folder, ChatInput((ChatMessage("user", text),))))
    await asyncio.sleep(0.05)
    assert await workers.encode(folder, HELLO)
    assert not long.done()
    assert len((await long).tokens) > 100_000


async def test_texts_get_the_special_tokens_of_their_tokenizer(
    workers: TextWorkers, tmp_path: Path
) -> None:
    """Alone, and behind a query with its length; no chat template is needed."""
    make_wordpiece(tmp_path)
    long = "which models read text " * 20
    alone = await workers.encode_texts(tmp_path, ("a fox", long))
    assert [row[0] for row in alone.inputs] == [2, 2] and alone.inputs[0][-1] == 3
    assert alone.first_lengths == [] and len(alone.inputs[1]) > 60
    pairs = await workers.encode_texts(tmp_path, ("a dog", long), query="a fox")
    assert [
        row[:length] for row, length in zip(pairs.inputs, pairs.first_lengths, strict=True)
    ] == [alone.inputs[0]] * 2
    assert pairs.inputs[0].count(3) == 2


async def test_texts_are_cut_only_when_asked(workers: TextWorkers, tmp_path: Path) -> None:
    """With the special tokens kept, and never the query; what the files say of it is not heard."""
    make_wordpiece(tmp_path)
    long = "which models read text " * 20
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for _ in range(2):
        cut = await workers.encode_texts(tmp_path, ("a fox", long), max_tokens=30)
        assert len(cut.inputs[0]) < 16 and len(cut.inputs[1]) == 30 and cut.inputs[1][-1] == 3
        whole = await workers.encode_texts(tmp_path, (long,))
        assert len(whole.inputs[0]) > 60
    pairs = await workers.encode_texts(tmp_path, (long,), query="a fox", max_tokens=30)
    assert len(pairs.inputs[0]) == 30 and pairs.inputs[0][: len(cut.inputs[0])] == cut.inputs[0]
    with pytest.raises(TextRefused):
        await workers.encode_texts(tmp_path, ("a fox",), query=long, max_tokens=30)


async def test_texts_without_a_tokenizer_are_refused(workers: TextWorkers, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TextRefused, match="could not be tokenized"):
        await workers.encode_texts(tmp_path, ("a fox",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat_template.json", '{"chat_template": "{{ eos_token }}"}'),
        ("special_tokens_map.json", '{"eos_token": "brown"}'),
        ("added_tokens.json", '{"Hello": 453}'),
    ],
)
async def test_a_file_that_is_added_counts_from_the_next_request(
    workers: TextWorkers, tmp_path: Path, name: str, content: str
) -> None:
    """Every file that template or tokenizer are made of, also one that was not there before."""
    folder = model(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if name == "chat_template.json":
        del config["chat_template"]
    else:
        config["chat_template"] = "{{ eos_token }} Hello"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    before: list[int] | None = None
    with contextlib.suppress(TemplateFailed):
        before = (await workers.encode(folder, HELLO)).tokens
    (folder / name).write_text(content)
    for _ in range(3):  # more than there are workers
        assert (await workers.encode(folder, HELLO)).tokens not in (before, [])
