"""Tests of `mlx-edge default`, and of the commands that follow it."""

import time
from pathlib import Path

import pytest

from registry.checkpoint.verify import Verified
from registry.store.record import Source
from registry.store.store import Store
from tests.models.tiny_models import make_llama
from tests.scripts.test_chat import run as chat
from tests.scripts.test_cli import run
from tests.serving import ServerProcess, link_model


def test_it_is_shown_and_chosen(tmp_path: Path) -> None:
    """Pocket, until another one is chosen; the choice is kept."""
    home = tmp_path / "home"
    link_model(home, "tiny", make_llama(tmp_path / "tiny"))
    assert run(home, "default").stdout == "pocket\n"
    chosen = run(home, "default", "tiny")
    assert chosen.returncode == 0 and "tiny is the default" in chosen.stdout
    assert run(home, "default").stdout == "tiny\n"
    run(home, "rm", "tiny")
    assert run(home, "default").stdout == "pocket\n"


@pytest.mark.parametrize(
    ("model_id", "words"),
    [
        ("nope", "Model 'nope' not found in store. These can: pocket, tiny."),
        ("smollm2-360m", "get it with `mlx-edge pull smollm2-360m`"),
        ("encoder", "cannot be asked for a chat. These can: pocket, tiny."),
        ("../etc", "not found in store. These can: pocket, tiny."),
    ],
)
def test_what_cannot_be_the_default_is_refused(tmp_path: Path, model_id: str, words: str) -> None:
    """With what could be; the choice of before stays."""
    home, folder = tmp_path / "home", make_llama(tmp_path / "tiny")
    link_model(home, "tiny", folder)
    verified = Verified("embed", "bert", 512, 1, 1, None, time.time())
    source = Source("folder", str(folder))
    Store(home).publish_link("encoder", folder, source=source, verified=verified)
    run(home, "default", "tiny")
    refused = run(home, "default", model_id)
    assert refused.returncode == 1 and refused.stderr == f"Error: {refused.stderr[7:]}"
    assert words in refused.stderr and "Traceback" not in refused.stderr
    assert run(home, "default").stdout == "tiny\n"


def test_chat_and_the_banner_follow(tmp_path: Path) -> None:
    """`chat` asks the server that it talks to; a choice made meanwhile counts."""
    home = tmp_path / "home"
    link_model(home, "tiny", make_llama(tmp_path / "tiny"))
    with ServerProcess(home) as server:
        assert '"model":"pocket"' in server.log
        pocket = chat(server.url, "--temperature", "0", question="Who are you?")
        assert "mlx-edge" in pocket.stdout, pocket.stderr
        run(home, "default", "tiny")
        arguments = ("--temperature", "0", "--max-tokens", "8")
        named = chat(server.url, "tiny", *arguments, question="Who are you?")
        unnamed = chat(server.url, *arguments, question="Who are you?")
        assert unnamed.returncode == 0 and unnamed.stdout == named.stdout
    with ServerProcess(home) as server:
        model, command = server.log.splitlines()[2:4]
        assert model.startswith("Model:   tiny;") and '"model":"tiny"' in command
