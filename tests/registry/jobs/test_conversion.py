"""Tests of registry.jobs.conversion: whatever happens in a job process, its parent is told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from registry.convert_messages import Work
from registry.errors import BrokenWeights, ConversionFailed, NotAModel
from registry.jobs import conversion
from registry.jobs.conversion import run_work
from tests import processes
from tests.models.gguf_files import write_gguf
from tests.models.tiny_models import make_llama
from tests.registry.damage import KILLER
from tests.serving import ROOT

MIB = 1 << 20


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that go wrong instead of the real one; see stand_in.py."""
    monkeypatch.setattr(conversion, "_MODULE", "tests.registry.stand_in")


def ignore(stage: str, done: int, total: int) -> None:
    pass


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_model_is_made_in_a_process(tmp_path: Path) -> None:
    """From a GGUF to a verified folder, with every stage told; only its owner can read it."""
    source = write_gguf(make_llama(tmp_path / "original"), tmp_path / "model.gguf")
    steps: list[tuple[str, int, int]] = []
    work = Work(str(source), str(tmp_path / "target"))
    verified = await run_work(work, lambda *step: steps.append(step))
    assert (verified.kind, verified.model_type) == ("llm", "llama")
    stages = list(dict.fromkeys(stage for stage, _, _ in steps))
    assert stages == ["checking", "converting", "verifying"]
    assert all(0 <= done <= total for _, done, total in steps)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "target").iterdir()} == {0}
    assert not processes.descendants()


async def test_its_errors_come_back_as_they_are(tmp_path: Path) -> None:
    """What is wrong with the files keeps its class and its words."""
    with pytest.raises(NotAModel, match="^.*nowhere does not exist.$"):
        await run_work(Work(str(tmp_path / "nowhere"), None), ignore)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(BrokenWeights, match=r"^x\.gguf is broken: the header wants 4 bytes"):
        await run_work(Work(str(tmp_path / "x.gguf"), str(tmp_path / "target")), ignore)
    with pytest.raises(ConversionFailed, match="^7 is impossible"):
        await run_work(Work(str(tmp_path), None, bits=7), ignore)
    (tmp_path / "target").mkdir()
    source = make_llama(tmp_path / "source")
    with pytest.raises(ConversionFailed, match="could not be done: .*File exists"):
        await run_work(Work(str(source), str(tmp_path / "target")), ignore)


async def test_a_killer_never_reaches_a_native_reader(stand_in: None, tmp_path: Path) -> None:
    """The 35 bytes that end a process in `mx.load` are refused where none can be imported."""
    path = tmp_path / "killer.gguf"
    path.write_bytes(KILLER)
    assert len(KILLER) == 35
    with pytest.raises(BrokenWeights, match="a string of 4611686018427387904 bytes"):
        await run_work(Work("no native readers", str(path)), ignore)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SIGKILL", "SIGKILL, for want of memory most likely"),
        ("SIGSEGV", "SIGSEGV"),
        ("SIGABRT", "SIGABRT"),
    ],
)
async def test_a_crash_is_told(stand_in: None, name: str, reason: str) -> None:
    """By the signal, and by what the process was at."""
    expected = f"^The process that converts and verifies crash {name} was ended by {reason}\\.$"
    with pytest.raises(ConversionFailed, match=expected):
        await run_work(Work(f"crash {name}", None), ignore)


async def test_an_unknown_error_is_told(stand_in: None) -> None:
    """By its last words, without what could confuse a terminal."""
    with pytest.raises(ConversionFailed, match="exit status 1: LookupError: nobody") as error:
        await run_work(Work("fail", None), ignore)
    assert str(error.value).isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep the limit")
async def test_memory_is_limited(stand_in: None) -> None:
    """A job that wants too much fails, and does not take the machine with it."""
    with pytest.raises(ConversionFailed, match="more than the 512 MiB it may take"):
        await run_work(Work("take memory", None), ignore, memory_bytes=512 * MIB)


async def test_output_disturbs_nothing(stand_in: None) -> None:
    """Libraries that print neither block the process nor spoil its report."""
    with pytest.raises(BrokenWeights, match="told all the same"):
        await run_work(Work("flood", None), ignore)


async def test_nonsense_is_no_report(stand_in: None) -> None:
    """Whatever writes to stdout in place of the job process is ended and named."""
    with pytest.raises(ConversionFailed, match="speaks nonsense"):
        await run_work(Work("", None), ignore, memory_bytes=1 << 50)
    assert not processes.descendants()


async def test_secrets_stay_here(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads files from anywhere, so it gets no keys, no way to the hub, and no Ctrl-C."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MLX_EDGE_API_KEY"):
        monkeypatch.setenv(name, "secret")
    with pytest.raises(BrokenWeights) as error:
        await run_work(Work("describe", None), ignore)
    told = json.loads(str(error.value).split(": ", 1)[1].removesuffix("."))
    assert "secret" not in told["environment"].values()
    assert told["environment"]["HF_HUB_OFFLINE"] == "1"
    assert told["session"] is True
    assert not {"mlx", "mlx_lm", "numpy", "tokenizers", "transformers"} & set(told["modules"])


async def test_a_cancelled_job_is_ended(stand_in: None, tmp_path: Path) -> None:
    """Cancelling ends the process before it returns."""
    running = asyncio.create_task(run_work(Work("hang", str(tmp_path / "pid")), ignore))
    await wait_for(lambda: (tmp_path / "pid").exists())
    assert len(processes.descendants()) == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not processes.descendants()


@pytest.mark.parametrize("delay_s", [0, 0.001, 0.004, 0.016, 0.064])
async def test_a_cancelled_start_leaves_no_process(
    stand_in: None, tmp_path: Path, delay_s: float
) -> None:
    """Cancelled anywhere on its way."""
    running = asyncio.create_task(run_work(Work("hang", str(tmp_path / "pid")), ignore))
    await asyncio.sleep(delay_s)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not processes.descendants()


PARENT = """
import asyncio, sys
from registry.convert_messages import Work
from registry.jobs import conversion
conversion._MODULE = "tests.registry.stand_in"
asyncio.run(conversion.run_work(Work("hang", sys.argv[1]), print))
"""


@pytest.mark.parametrize(
    "is_stopped",
    [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl"))],
)
async def test_a_job_ends_with_its_parent(tmp_path: Path, is_stopped: bool) -> None:
    """`kill -9` of the server leaves no process that converts on, nor one that is stopped."""
    pid_file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(pid_file)], cwd=ROOT)
    await wait_for(lambda: pid_file.exists() and pid_file.read_text() != "")
    pid = int(pid_file.read_text())
    assert psutil.pid_exists(pid)
    if is_stopped:
        os.kill(pid, signal.SIGSTOP)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    try:
        await wait_for(lambda: has_ended(pid))
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise


def has_ended(pid: int) -> bool:
    """Nobody may be there to reap it, so a zombie has ended, too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_what_no_limit_counts_is_watched(stand_in: None) -> None:
    """Shared memory, or any on a Mac: who holds too much is ended, and it is said why."""
    with pytest.raises(ConversionFailed, match="took more than the 300 MiB"):
        await run_work(Work("take shared memory", None), ignore, memory_bytes=300 << 20)
    assert not processes.descendants()
