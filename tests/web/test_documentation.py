"""Every row of the documentation page, as its readers do it: curl, and JavaScript under Node.

The page serves `smollm2-360m` on localhost:8083; here Pocket is imported under that name, or a
random model where Pocket is not built yet, and only the port differs.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.store.store import BUILT_IN
from tests.models.tiny_models import make_llama
from tests.serving import ROOT, ServerProcess, link_model

JAVASCRIPT = ROOT / "tests" / "javascript"
BASE = "/mimik-ai/openai/v1"
MODEL = "smollm2-360m"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("page") / "home"
    link_model(home, MODEL, BUILT_IN)
    source = make_llama(home.parent / "gone")
    link_model(home, "no-file", source)
    (source / "model.safetensors").unlink()
    with ServerProcess(home) as server:
        yield server


def curl(server: ServerProcess, path: str, *arguments: str, key: str | None = "1234") -> Any:
    """The status and JSON of a request made with curl."""
    authorization = ["-H", f"Authorization: Bearer {key}"] if key else []
    output = subprocess.run(
        ["curl", "-s", "-m", "60", "-w", "\n%{http_code}", server.url + path]
        + [*authorization, *arguments],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    body, _, status = output.rpartition("\n")
    return int(status), json.loads(body)


def chat(server: ServerProcess, *messages: tuple[str, str], **fields: Any) -> Any:
    body = {
        "model": MODEL,
        "messages": [{"role": role, "content": content} for role, content in messages],
    }
    return curl(
        server, f"{BASE}/chat/completions",
        "-H", "Content-Type: application/json", "-d", json.dumps(body | fields),
    )  # fmt: skip


def text(answer: Any) -> str:
    status, body = answer
    assert status == 200, body
    return str(body["choices"][0]["message"]["content"])


def test_basic(page: ServerProcess) -> None:
    """The documented shape of an answer, and no key beside it that a reader would trip over."""
    status, body = chat(page, ("user", "What is the capital of France?"), temperature=0)
    assert status == 200
    assert body["object"] == "chat.completion" and body["model"] == MODEL
    choice = body["choices"][0]
    assert choice["index"] == 0 and choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "stop"
    assert "Paris" in choice["message"]["content"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_system_message_and_turns(page: ServerProcess) -> None:
    """A system message is taken, and a second question knows the first."""
    reverse = ("user", "How do I reverse a string in Python?")
    assert "[::-1]" in text(
        chat(page, ("system", "You are a helpful coding assistant."), reverse, temperature=0)
    )
    assert "million" in text(
        chat(
            page,
            ("user", "What is the capital of France?"),
            ("assistant", "The capital of France is Paris."),
            ("user", "What is its population?"),
            temperature=0,
        )
    )


def test_streaming(page: ServerProcess) -> None:
    """`curl -N` shows data lines, each with choices, and the end mark."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "stream": True}
    output = subprocess.run(
        ["curl", "-sN", f"{page.url}{BASE}/chat/completions", "-H", "Authorization: Bearer 1234",
         "-H", "Content-Type: application/json", "-d", json.dumps(body)],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    lines = [line for line in output.splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        chunk = json.loads(line.removeprefix("data: "))
        assert chunk["object"] == "chat.completion.chunk" and chunk["choices"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"temperature": 0}, 200), ({"temperature": 2}, 200), ({"temperature": 2.1}, 400),
        ({"temperature": -1}, 400), ({"top_p": 0}, 200), ({"top_p": 1}, 200), ({"top_p": 1.5}, 400),
        ({"max_tokens": 1}, 200), ({"max_tokens": 0}, 400), ({"max_tokens": 2048}, 200),
    ],
    ids=str,
)  # fmt: skip
def test_parameters_and_their_ranges(
    page: ServerProcess, fields: dict[str, Any], status: int
) -> None:
    """temperature 0 to 2, top_p 0 to 1, max_tokens from 1 up to the model's limit."""
    assert chat(page, ("user", "Hello!"), **({"max_tokens": 4} | fields))[0] == status


def test_load_list_unload(page: ServerProcess) -> None:
    """Pre-load, see it listed, unload in both documented ways; the file stays."""
    load = ["-H", "Content-Type: application/json", "-d", json.dumps({"model": MODEL})]
    for unload in (f"{BASE}/models?modelId={MODEL}", f"{BASE}/models/{MODEL}"):
        status, loaded = curl(page, f"{BASE}/models", *load)
        assert status == 200
        assert loaded["id"] == MODEL and loaded["object"] == "model" and loaded["loaded"] is True
        status, listed = curl(page, f"{BASE}/models")
        entry = {model["id"]: model for model in listed["data"]}[MODEL]
        assert entry["object"] == "model" and entry["owned_by"] == "local"
        assert isinstance(entry["created"], int) and entry["info"]["kind"] == "llm"
        status, unloaded = curl(page, unload, "-X", "DELETE")
        assert status == 200 and unloaded["freed_bytes"] > 0
        assert (unloaded["id"], unloaded["object"], unloaded["deleted"]) == (MODEL, "model", True)
        assert MODEL not in [model["id"] for model in curl(page, f"{BASE}/models")[1]["data"]]
    assert text(chat(page, ("user", "Hello!"), max_tokens=3))


def test_load_with_progress(page: ServerProcess) -> None:
    """With an SSE Accept header the load shows progress lines, then the model object."""
    curl(
        page,
        f"{BASE}/models",
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps({"model": MODEL}),
    )
    curl(page, f"{BASE}/models/{MODEL}", "-X", "DELETE")
    output = subprocess.run(
        ["curl", "-sN", f"{page.url}{BASE}/models", "-H", "Authorization: Bearer 1234",
         "-H", "Accept: text/event-stream", "-H", "Content-Type: application/json",
         "-d", json.dumps({"model": MODEL})],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    events = [json.loads(line.removeprefix("data: ")) for line in output.splitlines() if line]
    assert events[0]["progress"].startswith("<|loading_model|> ")
    assert events[-1]["id"] == MODEL and events[-1]["loaded"] is True


def test_errors(page: ServerProcess) -> None:
    """400 for a model without a file, 401 without a key or with a wrong one, 404 to the letter."""
    status, body = curl(
        page, f"{BASE}/chat/completions", "-H", "Content-Type: application/json",
        "-d", '{"model":"no-file","messages":[{"role":"user","content":"x"}]}',
    )  # fmt: skip
    assert (
        status == 400 and body["error"]["code"] == 400 and "not ready" in body["error"]["message"]
    )
    for key in (None, "wrong"):
        status, body = curl(page, f"{BASE}/models", key=key)
        assert (status, body) == (401, {"error": {"code": 401, "message": "Unauthorized"}})
    output = subprocess.run(
        ["curl", "-s", f"{page.url}{BASE}/chat/completions", "-H", "Authorization: Bearer 1234",
         "-H", "Content-Type: application/json",
         "-d", '{"model":"unknown-model","messages":[{"role":"user","content":"Hello"}]}'],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert (
        output == """{"error":{"code":404,"message":"Model 'unknown-model' not found in store"}}"""
    )


@pytest.mark.parametrize(
    ("sample", "expected"),
    [("basic.js", "Paris"), ("stream.js", "nce|Long ago| was a"), ("fetch.js", "")],
)
def test_javascript(page: ServerProcess, tmp_path: Path, sample: str, expected: str) -> None:
    """The samples run under Node as they are written, but for the port."""
    source = (JAVASCRIPT / sample).read_text()
    script = JAVASCRIPT / f".{tmp_path.name}-{sample}"  # beside node_modules
    script.write_text(source.replace("localhost:8083", f"localhost:{page.port}"))
    try:
        result = subprocess.run(["node", str(script)], capture_output=True, text=True, timeout=60)
    finally:
        script.unlink()
    assert result.returncode == 0, result.stderr
    assert re.search(expected, result.stdout) and result.stdout.strip()
