"""Every architecture of mlx-lm, from the import over the engine to HTTP, alone and in company.

The measure is each row alone, as mlx-lm's plain generation computes it.
"""

import asyncio
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import mlx.core as mx
import pytest
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model
from openai import AsyncOpenAI
from tokenizers import Tokenizer

from registry.checkpoint.tokenizer.load import load as load_tokenizer
from registry.convert import __main__ as convert
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from runtime.engine.batch.batch import Batch
from runtime.engine.cache import kv_cache
from runtime.engine.language_model import LanguageModel
from runtime.engine.loader import LoadedModel
from runtime.engine.loader import load as load_folder
from runtime.events import Failed
from tests.models.zoo import faults
from tests.models.zoo.checkpoints import CONFIGS, make
from tests.models.zoo.shape import VOCAB_SIZE
from tests.runtime.engine.numbers import prompts, row, tokens_of
from tests.serving import KEY, ServerProcess, link_model

pytestmark = pytest.mark.slow

# Two choices that are closer than this in log-probability may be swapped by rounding.
_NEAR_TIE = 2e-3
# A token on the verge of two experts may be sent to the other one by rounding: of mixtures, what is
# wrong is wrong with other prompts too.
_ATTEMPTS_OF_MIXTURES = 3


@dataclass(frozen=True, slots=True)
class Imported:
    """A checkpoint, and what the registry made of it."""

    name: str
    source: Path
    folder: Path


@pytest.fixture(scope="module", params=[name for name in CONFIGS if faults.is_computable(name)])
def imported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Imported]:
    name: str = request.param
    root = tmp_path_factory.mktemp("zoo")
    source, target = make(name, root / "source"), root / "imported"
    work = Work(str(source), str(target))
    verified = carry_out(convert.check(work), work, lambda stage, done, total: None)
    assert verified.kind == "llm"
    yield Imported(name, source, target)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def loaded(imported: Imported) -> LoadedModel:
    return load_folder(imported.folder, lambda done, total: None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("home")) as server:
        yield server


def attempts(name: str) -> range:
    """Each with prompts of its own; the last has to pass."""
    is_mixture = "expert" in json.dumps(CONFIGS[name])
    return range(_ATTEMPTS_OF_MIXTURES if is_mixture else 1)


def alone(model: LanguageModel, prompt: list[int], num_tokens: int) -> list[int] | None:
    """A row as mlx-lm generates it; None if it depends on rounding."""
    tokens = []
    for token, logprobs in generate_step(mx.array(prompt), model, max_tokens=num_tokens):
        likeliest = mx.topk(logprobs, 2)
        if (mx.abs(likeliest[0] - likeliest[1]) < _NEAR_TIE).item():
            return None
        tokens.append(int(token))
    return tokens


def test_what_is_imported_is_what_mlx_lm_loads(imported: Imported, loaded: LoadedModel) -> None:
    """Nothing that is read of config.json in other words changes what there is to compute."""
    tokens = mx.array(prompts([60], vocab_size=VOCAB_SIZE))
    plain = load_model(imported.source)[0]
    logits = loaded.model(tokens, cache=kv_cache.make(loaded.model))
    assert mx.allclose(logits, plain(tokens, cache=kv_cache.make(plain)), atol=1e-3)


def test_what_is_exact_is_found_out(imported: Imported, loaded: LoadedModel) -> None:
    """The probe finds every fault that is known, and no other."""
    assert loaded.info.probed.exactness == faults.exactness(imported.name)


@dataclass(slots=True)
class Planned:
    """A row of a random schedule."""

    prompt: list[int]
    alone: list[int]  # its tokens without company
    joins_at: int  # step
    cancelled_after: int | None  # tokens


def plan(generator: random.Random, model: LanguageModel, num_rows: int) -> list[Planned]:
    """Rows of any length, some of a token or two, some longer than the windows."""
    rows: list[Planned] = []
    while len(rows) < num_rows:
        longest = generator.choice((3, 12, 90))
        prompt = [generator.randrange(3, VOCAB_SIZE) for _ in range(generator.randint(1, longest))]
        tokens = alone(model, prompt, generator.randint(2, 14))
        if tokens is not None:
            cancelled_after = generator.choice((None, None, generator.randint(1, len(tokens))))
            rows.append(Planned(prompt, tokens, generator.choice((0, 0, 4, 12)), cancelled_after))
    return rows


def run(batch: Batch, rows: list[Planned]) -> dict[int, list[int]]:
    """What each row drew: to its end, or to where it was cancelled."""
    tokens: dict[int, list[int]] = {number: [] for number in range(len(rows))}
    step = 0
    while batch.num_rows or any(planned.joins_at >= step for planned in rows):
        for number, planned in enumerate(rows):
            if planned.joins_at == step:
                batch.add(row(number, planned.prompt, len(planned.alone)))
        events = batch.step()
        assert not any(isinstance(event, Failed) for event in events), events
        for number, token in tokens_of(events):
            tokens[number].append(token)
            if len(tokens[number]) == rows[number].cancelled_after:
                batch.remove(number)
        step += 1
    return tokens


@pytest.mark.parametrize("chunk_tokens", [7, 64])
def test_rows_in_company_are_as_each_alone(
    imported: Imported, loaded: LoadedModel, chunk_tokens: int
) -> None:
    """Random prompts join, leave and are cancelled at random steps."""
    for attempt in attempts(imported.name):
        rows = plan(random.Random(f"{chunk_tokens} {attempt}"), loaded.model, 9)
        batch = Batch(
            loaded.model,
            loaded.info.probed.exactness,
            prefill_chunk_tokens=chunk_tokens,
            stall_limit_s=60,  # chunks as large on a slow machine as on a fast one
        )
        tokens = run(batch, rows)
        expected = {n: planned.alone[: planned.cancelled_after] for n, planned in enumerate(rows)}
        if tokens == expected:
            return
    assert tokens == expected


def test_what_was_read_before_need_not_be_read_again(
    imported: Imported, loaded: LoadedModel
) -> None:
    """Prompts go on from other prompts and answers, whole or in part, some at the same time."""
    exactness = loaded.info.probed.exactness
    for attempt in attempts(imported.name):
        chance = random.Random(attempt)
        batch = Batch(
            loaded.model, exactness, prefill_chunk_tokens=64, stall_limit_s=60,
            prefix_cache_bytes=1 << 30,
        )  # fmt: skip
        histories = prompts([290, 40, 7], vocab_size=VOCAB_SIZE, seed=attempt)
        drawn, expected = dict[int, list[int]](), dict[int, list[int]]()
        while len(expected) < 12:
            base = chance.choice(histories[-5:])
            said = base[: chance.choice((len(base), chance.randint(1, len(base))))]
            prompt = [
                *said,
                *(chance.randrange(3, VOCAB_SIZE) for _ in range(chance.randint(1, 9))),
            ]
            tokens = alone(loaded.model, prompt, 9)
            if tokens is not None:
                batch.add(row(len(expected), prompt, 9))
                expected[len(expected)] = tokens
                histories.append([*prompt, *tokens])
                for number, token in told(batch, chance.choice((0, 2, 40))):
                    drawn.setdefault(number, []).append(token)
        for number, token in told(batch, 1000):
            drawn.setdefault(number, []).append(token)
        if drawn == expected:
            break
    assert drawn == expected
    last = row(99, [*histories[-1], 5], 1)
    batch.add(last)
    assert last.num_cached == (len(histories[-1]) - 1 if exactness.chunked else 0)


def told(batch: Batch, num_steps: int) -> Iterator[tuple[int, int]]:
    """The tokens of so many steps, or up to the end of all rows."""
    while batch.num_rows and num_steps:
        events = batch.step()
        assert not any(isinstance(event, Failed) for event in events), events
        yield from tokens_of(events)
        num_steps -= 1


def test_chats_over_http_are_as_each_alone(
    imported: Imported, loaded: LoadedModel, server: ServerProcess
) -> None:
    """Four streams at once, a fifth that is cancelled; how rows are batched is listed."""
    link_model(server.home, imported.name, imported.folder)
    tokenizer = load_tokenizer(imported.folder)
    for attempt in attempts(imported.name):
        chats = conversations(random.Random(attempt), loaded.model, tokenizer, 4)
        texts = asyncio.run(ask(server, imported.name, list(chats)))
        if texts == list(chats.values()):
            break
    assert texts == list(chats.values())
    entry = next(m for m in server.get("/v1/models")["data"] if m["id"] == imported.name)
    assert entry["capabilities"]["batching"] == faults.exactness(imported.name).batching
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"{server.url}/v1/models/{imported.name}"
    httpx.delete(url, headers=headers, timeout=60).raise_for_status()


def conversations(
    generator: random.Random, model: LanguageModel, tokenizer: Tokenizer, count: int
) -> dict[str, str]:
    """Messages, and the answer of twelve tokens that each gets alone."""
    answers: dict[str, str] = {}
    while len(answers) < count:
        message = " ".join(generator.choices(("ba", "deli", "fogu"), k=generator.randint(1, 12)))
        prompt = f"<|im_start|>user\n{message}<|im_end|>\n<|im_start|>assistant\n"
        tokens = alone(model, tokenizer.encode(prompt).ids, 12)
        if tokens is not None:
            # Broken characters at the end of an answer are not sent.
            answers[message] = tokenizer.decode(tokens).rstrip("\ufffd")
    return answers


async def ask(server: ServerProcess, model_id: str, messages: list[str]) -> list[str]:
    """The answers to all messages, asked at once beside one that is given up."""
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:

        async def answer(message: str, max_tokens: int = 12) -> str:
            user: Any = {"role": "user", "content": message}
            stream = await client.chat.completions.create(
                model=model_id,
                messages=[user],
                max_tokens=max_tokens,
                temperature=0,
                stream=True,
            )
            text = ""
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
                if max_tokens > 12 and text:
                    await stream.close()
                    break
            return text

        *texts, _ = await asyncio.gather(*map(answer, messages), answer("ba ba", 2000))
        return texts
