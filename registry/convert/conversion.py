"""The steps of a job: from a source whose headers are sound to a folder that really loads."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec

from registry.checkpoint import listing, shards
from registry.checkpoint.attention import settled
from registry.checkpoint.config import Config, read_config
from registry.checkpoint.kind import ENCODER_TYPES, kind_in
from registry.checkpoint.spelling import normalised
from registry.checkpoint.task import Task, claim
from registry.checkpoint.task import check as check_task
from registry.checkpoint.tokenizer.load import write as write_tokenizer
from registry.checkpoint.verify import Verified, verify
from registry.checkpoint.weights import read_header
from registry.convert_messages import Work
from registry.errors import ConversionFailed, NotAModel

from . import copies
from .faults import refused
from .float8 import float8_names
from .gguf.convert import Conversion
from .recast import recast
from .room import check_room
from .trial import try_out

OnStage: TypeAlias = Callable[[str, int, int], None]  # stage, done, total


def carry_out(source: Path, work: Work, report: OnStage) -> Verified:
    """Do the work; `source` has passed `__main__.check`. After an error no target is left."""
    if work.target is None:
        return _verify(source, report)
    target = Path(work.target)
    target.mkdir(mode=0o700)
    try:
        if source.is_dir():
            _convert_folder(source, target, work, report)
            return _verify(target, report)
        conversion = Conversion(source, work)
        check_room(target, conversion.num_bytes)
        weights = conversion.write(target, partial(report, "converting"))
        _claim(target, target, read_config(target), work.task)
        return msgspec.structs.replace(_verify(target, report), weights=weights)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _verify(folder: Path, report: OnStage) -> Verified:
    if not folder.is_dir():
        raise NotAModel(f"{folder.name} has to be converted before it can be served.")
    report("verifying", 0, 1)
    verified = verify(folder)
    try_out(folder, verified)
    report("verifying", 1, 1)
    return verified


def _convert_folder(source: Path, target: Path, work: Work, report: OnStage) -> None:
    config = read_config(source)
    verified = verify(source)
    copies.copy_all(source, target)
    with refused("the tokenizer"):
        write_tokenizer(source, target)
    _claim(source, target, config, work.task)
    if _is_as_wanted(source, target, verified, config, work):
        copies.write_config(settled(normalised(config)), target / "config.json")
        _take_weights(source, target, work, report)
        return
    if verified.model_type in ENCODER_TYPES:
        raise ConversionFailed(
            f"Models of type '{verified.model_type}' can only be taken as they are: "
            "leave out bits and dtype."
        )
    recast(source, target, work, partial(report, "converting"), companions=target)


def _claim(source: Path, target: Path, config: Config, task: Task | None) -> None:
    """Write into `target` what the model is for, if that can be."""
    if task is not None:
        check_task(source, task)
        claim(target, config, task)


def _is_as_wanted(
    source: Path, target: Path, verified: Verified, config: Config, work: Work
) -> bool:
    """Whether the weight files can be taken as they are; `target` says what the model is for."""
    if kind_in(target, config) != "llm" or verified.bits is not None:
        is_mlx = True
    else:
        formats = (read_header(path).metadata.get("format") for path in shards.find(source))
        is_mlx = all(form == "mlx" for form in formats)
    return (
        is_mlx
        and not float8_names(source, config)
        and work.dtype is None
        and work.bits in (None, verified.bits)
    )


def _take_weights(source: Path, target: Path, work: Work, report: OnStage) -> None:
    paths = shards.find(source)
    total = sum(path.stat().st_size for path in paths)
    if not work.may_link:
        check_room(target, total)
    if (index := source / listing.INDEX).is_file():
        shutil.copyfile(index, target / listing.INDEX)
    done = 0
    for path in paths:
        copies.place(path, target / path.name, work.may_link)
        done += path.stat().st_size
        report("converting", done, total)
