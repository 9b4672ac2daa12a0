"""Stands in for the job process: any folder with a config and weights is a model. No MLX, no wait.

monkeypatch.setattr(provision, "run_work", FakeWork())
"""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from registry.checkpoint.verify import Verified
from registry.convert_messages import Work
from registry.errors import BrokenWeights, NotAModel

WEIGHTS = b"weights, as it were" * 1000


class FakeWork:
    """Links or copies, as the real one does with an MLX folder; weights must be `WEIGHTS`-like."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure
        self.works: list[Work] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(
        self, work: Work, report: Callable[[str, int, int], None], memory_bytes: int | None = None
    ) -> Verified:
        self.works.append(work)
        report("checking", 0, 1)
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        source = Path(work.source)
        folder = source
        if work.target is not None:
            report("converting", 0, 1)
            folder = Path(work.target)
            folder.mkdir()
            if source.is_file():
                write_folder(folder, source.read_bytes())
            for path in source.rglob("*") if source.is_dir() else []:
                if path.suffix in (".json", ".jinja", ".safetensors"):
                    taken = folder / path.relative_to(source)
                    taken.parent.mkdir(exist_ok=True)
                    (os.link if work.may_link else shutil.copyfile)(path.resolve(), taken)
        report("verifying", 0, 1)
        return _verify(folder, work)


def write_folder(folder: Path, weights: bytes = WEIGHTS, model_type: str = "llama") -> Path:
    """What `FakeWork` takes for a model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def fake_verified(kind: str = "llm", bits: int | None = None) -> Verified:
    return Verified(kind, "llama", 512, 1000, len(WEIGHTS), bits, 1.0)


def _verify(folder: Path, work: Work) -> Verified:
    if not (folder / "config.json").is_file():
        raise NotAModel(f"{folder} has no config.json.")
    weights = sorted(folder.glob("model*.safetensors"))
    if not weights:
        raise NotAModel(f"{folder} has no weights.")
    for path in weights:
        if b"weights" not in path.read_bytes():
            raise BrokenWeights(path.name, "it does not say 'weights'")
    model_type = json.loads((folder / "config.json").read_bytes())["model_type"]
    return fake_verified("embed" if model_type == "bert" else "llm", work.bits)
