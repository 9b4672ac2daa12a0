"""Tests of runtime.engine's start: whatever ends a load is told."""

import socket
import sys
from pathlib import Path

import msgspec
import pytest

from registry.errors import NotAModel
from runtime.engine import __main__ as engine
from runtime.engine_messages import EngineSettings, LoadError, Report
from runtime.processes import frames
from tests.models.tiny_models import make_llama


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SystemExit("first install it"), "SystemExit: first install it"),
        (ImportError("no such thing"), "ImportError: no such thing"),
        (NotAModel("It is packed."), "It is packed."),
    ],
)
def test_a_load_that_ends_the_process_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, message: str
) -> None:
    """A module of mlx-lm may exit where a package is missing; a refusal is a sentence already."""

    def fails(*arguments: object) -> None:
        raise error

    ours, theirs = socket.socketpair()
    settings = msgspec.json.encode(EngineSettings()).decode()
    arguments = ["engine", str(theirs.detach()), str(make_llama(tmp_path)), settings]
    monkeypatch.setattr(sys, "argv", arguments)
    for name in ("end_with_parent", "_receive"):  # which would end this process
        monkeypatch.setattr(engine, name, lambda *arguments: None)
    monkeypatch.setattr(engine, "_loop", fails)
    assert engine.main() == 1
    payload = frames.read_blocking(ours)
    assert payload is not None
    assert msgspec.msgpack.decode(payload, type=Report) == LoadError(message)
    ours.close()
