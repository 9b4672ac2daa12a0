"""Tests of sampling that a client leaves out: it is the model's own, on every way to ask."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from scripts.cli import cli
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama
from tests.serving import KEY, ROOT, ServerProcess, import_model, link_model
from tests.sockets import opened

HELLO = [{"role": "user", "content": "hello"}]
SEEDS = (1, 2)
# What the models say, and what is used of it.
SAID: dict[str, dict[str, Any]] = {
    "silent": {},
    "own": {"temperature": 0.6, "top_p": 0.5, "top_k": 20, "repetition_penalty": 1.1}
    | {"typical_p": 0.9},
    "whole": {"top_p": 1.0},
    "greedy": {"do_sample": False, "temperature": 0.7},
}
NEUTRAL = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
NEUTRAL |= {"presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0}
FROM_FILE = NEUTRAL | {"source": "generation_config.json", "not_used": {}}
FROM_CATALOG = FROM_FILE | {"source": "catalog"}
USED: dict[str, dict[str, Any]] = {
    "silent": FROM_FILE | {"min_p": 0.05, "source": "default"},
    "own": FROM_FILE
    | {"temperature": 0.6, "top_p": 0.5, "top_k": 20, "repetition_penalty": 1.1}
    | {"not_used": {"typical_p": 0.9}},
    "whole": FROM_FILE,
    "greedy": FROM_FILE | {"temperature": 0.0, "min_p": 0.05},
    "carried": FROM_FILE | {"temperature": 0.4, "top_p": 0.6, "min_p": 0.02},
    "smollm2-135m": FROM_CATALOG | {"temperature": 0.2, "top_p": 0.9},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The same weights under each name; `carried` was imported from a GGUF that says it."""
    folder = tmp_path_factory.mktemp("sampling")
    tiny, home = make_llama(folder / "tiny"), folder / "home"
    link_model(home, "smollm2-135m", tiny)
    for name, said in SAID.items():
        copy = shutil.copytree(tiny, folder / name)
        (copy / "generation_config.json").write_text(json.dumps(said))
        link_model(home, name, copy)
    keys = {"temp": 0.4, "top_p": 0.6, "min_p": 0.02}
    metadata: dict[str, Any] = {f"general__sampling__{key}": value for key, value in keys.items()}
    import_model(home, "carried", write_gguf(tiny, folder / "tiny.gguf", **metadata))
    with ServerProcess(home) as process:
        yield process


def answer(server: ServerProcess, model: str, base: str = "/v1", **sent: Any) -> str:
    body = {"model": model, "messages": HELLO, "max_tokens": 16, "seed": 1} | sent
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"{server.url}{base}/chat/completions"
    response = httpx.post(url, json=body, headers=headers, timeout=60)
    text: str = response.raise_for_status().json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("model", USED)
def test_leaving_out_is_sending_the_models_own(server: ServerProcess, model: str) -> None:
    """Token for token, with the same seed; null is leaving out."""
    used = {name: USED[model][name] for name in NEUTRAL}
    nothing: dict[str, Any] = dict.fromkeys(used)
    for seed in SEEDS:
        explicit = answer(server, model, seed=seed, **used)
        assert answer(server, model, seed=seed) == explicit
        assert answer(server, model, seed=seed, **nothing) == explicit
        for name, value in used.items():  # the others are left out
            assert answer(server, model, seed=seed, **{name: value}) == explicit


@pytest.mark.parametrize("sent", [{"temperature": 1.5}, {"top_p": 1.0}, {"temperature": 0}])
def test_what_is_sent_is_used_as_sent(server: ServerProcess, sent: dict[str, Any]) -> None:
    """Whatever the model says of it; and it makes a difference."""
    rest = {name: USED["own"][name] for name in NEUTRAL} | sent
    as_sent = [answer(server, "own", seed=seed, **sent) for seed in SEEDS]
    assert as_sent == [answer(server, "silent", seed=seed, **rest) for seed in SEEDS]
    assert as_sent != [answer(server, "own", seed=seed) for seed in SEEDS]


def test_the_tail_is_cut_where_nothing_is_said(server: ServerProcess) -> None:
    """A model that says top_p 1 is taken at its word, and a client that says min_p 0."""
    cut, whole = (
        [answer(server, name, seed=seed) for seed in SEEDS] for name in ("silent", "whole")
    )
    assert cut != whole
    assert whole == [answer(server, "silent", seed=seed, min_p=0) for seed in SEEDS]


def test_a_greedy_model_is_greedy(server: ServerProcess) -> None:
    """Whatever the seed; until a client sends another temperature."""
    (text,) = {answer(server, "greedy", seed=seed) for seed in SEEDS}
    assert text == answer(server, "own", temperature=0, repetition_penalty=1)
    assert len({answer(server, "greedy", seed=seed, temperature=1) for seed in SEEDS}) > 1


async def test_every_way_to_ask(server: ServerProcess) -> None:
    """Both dialects, streamed, on the socket and from the terminal."""
    used = {name: USED["own"][name] for name in NEUTRAL}
    expected = answer(server, "own", seed=5, **used)
    assert answer(server, "own", "/mimik-ai/openai/v1", seed=5) == expected
    for path in ("/v1/chat/completions", "/mimik-ai/openai/v1/chat/completions"):
        async with opened(server, path) as client:
            body = {"max_tokens": 16, "seed": 5, "temperature": None}
            await client.create("1", model="own", **body)
            assert (await client.answers(1))["1"].text == expected
    command = [sys.executable, "-m", "scripts.cli", "chat", "own", "hello", "--server", server.url]
    said = subprocess.run(
        [*command, "--max-tokens", "16", "--seed", "5"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.stdout.rstrip("\n") == expected.rstrip("\n"), said.stderr


@pytest.mark.parametrize("model", USED)
def test_what_is_used_is_shown(server: ServerProcess, model: str) -> None:
    """With where it comes from, and what of it is not honoured."""
    assert server.get(f"/v1/models/{model}")["sampling"] == USED[model]
    listed = {entry["id"]: entry["sampling"] for entry in server.get("/v1/models")["data"]}
    assert listed[model] == USED[model]
    answer(server, model, max_tokens=1)
    loaded = {entry["id"]: entry for entry in server.get("/mimik-ai/openai/v1/models")["data"]}
    assert loaded[model]["sampling"] == USED[model]


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("silent", "sampling     temperature 1, min_p 0.05 (default)"),
        ("own", "temperature 0.6, top_p 0.5, top_k 20, repetition_penalty 1.1 (generation_config"),
        ("own", "not used     typical_p 0.9, which the model's authors recommend"),
        ("carried", "temperature 0.4, top_p 0.6, min_p 0.02 (generation_config.json)"),
        ("smollm2-135m", "sampling     temperature 0.2, top_p 0.9 (catalog)"),
        ("pocket", "sampling     temperature "),
    ],
)
def test_the_command_line_shows_it(server: ServerProcess, model: str, line: str) -> None:
    shown = CliRunner().invoke(cli, ["--home", str(server.home), "show", model])
    assert line in shown.output
