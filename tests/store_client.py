"""Talks to the store API as its documentation does: with curl."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hub.hub_server import HubServer
from tests.serving import KEY, ServerProcess

BASE = "/mimik-ai/store/v1"
HEADERS = {"Authorization": f"Bearer {KEY}"}
MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


def start(home: Path, hub: HubServer) -> ServerProcess:
    """A server whose hub this is."""
    flags = [flag for host in hub.hosts for flag in ("--allow-private-downloads", host)]
    return ServerProcess(home, *flags, environment={"HF_ENDPOINT": hub.url})


def form_of(folder: Path) -> list[str]:
    """curl's flags to send a model folder."""
    return [flag for name in MODEL_FILES for flag in ("-F", f"file=@{folder / name}")]


def curl(server: ServerProcess, path: str, *arguments: str) -> tuple[int, str]:
    """The status and body of a request made with curl, with the key."""
    output = subprocess.run(
        ["curl", "-sN", "-m", "60", "-w", "\n%{http_code}", server.url + path]
        + ["-H", f"Authorization: Bearer {KEY}", *arguments],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    body, _, status = output.rpartition("\n")
    return int(status), body


def post(server: ServerProcess, path: str, body: Any, method: str = "POST") -> tuple[int, str]:
    return curl(
        server, path, "-X", method, "-H", "Content-Type: application/json", "-d", json.dumps(body)
    )


def create(server: ServerProcess, model_id: str, **fields: Any) -> tuple[int, str]:
    body = {"id": model_id, "version": "1.0.0", "kind": "llm"} | fields
    return post(server, f"{BASE}/models", body)


def events(body: str) -> list[Any]:
    """The values of a stream; a bare line counts too."""
    return [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line]


def show(server: ServerProcess, model_id: str) -> Any:
    return json.loads(curl(server, f"{BASE}/models/{model_id}")[1])


def chat(server: ServerProcess, model_id: str, words: str = "hi") -> Any:
    body = {"model": model_id, "messages": [{"role": "user", "content": words}], "max_tokens": 3}
    status, answer = post(server, "/mimik-ai/openai/v1/chat/completions", body)
    return json.loads(answer) | {"status": status}


def assert_chats(server: ServerProcess, model_id: str) -> None:
    answer = chat(server, model_id)
    assert answer["status"] == 200, answer
    assert answer["usage"]["completion_tokens"] == 3


def wait_until(check: Callable[[], Any], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
