"""Tests of --disk-cache through the real server: restarts, what lies on the disk, an end to it."""

import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.checkpoint.tokenizer.load import load as load_tokenizer
from tests.models.tiny_models import make_llama
from tests.serving import KEY, ROOT, ServerProcess, link_model

pytestmark = pytest.mark.slow

SECRET = "The harbour master hides the ledger beneath the seventh lantern of the eastern quay. "


def turn(server: ServerProcess, messages: list[dict[str, str]], said: str) -> int:
    """Have a conversation go on; how many tokens of its prompt were cached."""
    messages.append({"role": "user", "content": said})
    body = {
        "model": "tiny", "messages": messages, "max_tokens": 60, "temperature": 1, "seed": 3,
        "guided_regex": "[a-z ]{30,40}",
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"{server.url}/v1/chat/completions"
    reply: Any = httpx.post(url, json=body, headers=headers, timeout=60).json()
    messages.append(reply["choices"][0]["message"])
    return int(reply["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_a_conversation_outlives_the_server(tmp_path: Path) -> None:
    """And nobody reads it on the disk, neither as text nor as tokens; then it is forgotten."""
    home, folder = tmp_path / "home", make_llama(tmp_path / "tiny")
    link_model(home, "tiny", folder)
    messages: list[dict[str, str]] = []
    with ServerProcess(home, "--disk-cache", "1GB") as server:
        assert turn(server, messages, SECRET * 4) == 0
        assert turn(server, messages, "Go on.") >= 256
    cold = list(messages)
    with ServerProcess(home, "--disk-cache", "1GB") as server:
        # What was drawn is tokenised anew after a restart, and may give other tokens.
        assert turn(server, messages, "And then?") >= 128
        (told,) = server.get("/v1/cache")["data"]
        assert told["disk_limit_bytes"] == 1_000_000_000
        assert told["disk_bytes"] > 0 and told["bytes_written_today"] <= 1_000_000_000
    with ServerProcess(home) as server:
        assert turn(server, cold, "And then?") == 0
        assert (home / "prefixes").is_dir()
    assert messages == cold

    tokens = load_tokenizer(folder).encode(SECRET, add_special_tokens=False).ids[2:10]
    plain = [SECRET[:20].encode(), *(array(kind, tokens).tobytes() for kind in "iqHI")]
    plain.append(messages[1]["content"][:20].encode())
    seen = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.parent.name == "prefixes" and path.stat().st_size > 5000 for path in seen)
    for path in seen:
        content = path.read_bytes()
        assert not any(each in content for each in plain), path

    with ServerProcess(home, "--disk-cache", "1GB") as server:
        command = [sys.executable, "-m", "scripts.cli", "--home", str(home), "cache", "forget"]
        forgotten = subprocess.run(
            [*command, "--server", server.url], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert "and the key to it" in forgotten.stdout
        assert not (home / "prefixes.key").exists()
        left = [path.name for path in (home / "prefixes").iterdir() if path.name[0] != "."]
        assert left == []


def test_an_unload_keeps_it_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    link_model(home, "tiny", make_llama(tmp_path / "tiny"))
    messages: list[dict[str, str]] = []
    with ServerProcess(home, "--disk-cache", "1GB") as server:
        turn(server, messages, SECRET * 4)
        first = turn(server, messages, "Go on.")
        headers = {"Authorization": f"Bearer {KEY}"}
        httpx.delete(f"{server.url}/v1/models/tiny", headers=headers, timeout=60)
        assert turn(server, messages, "And then?") > first


def test_a_home_without_room_for_it_serves_all_the_same(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    home = tmp_path / "home"
    link_model(home, "tiny", make_llama(tmp_path / "tiny"))
    (home / "prefixes").write_text("not a folder")
    messages: list[dict[str, str]] = []
    with ServerProcess(home, "--disk-cache", "1GB") as server:
        turn(server, messages, SECRET * 4)
        assert turn(server, messages, "Go on.") > 80
        assert server.log.count("nothing is kept on disk") == 1
        assert "Traceback" not in server.log
