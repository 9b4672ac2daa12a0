"""The files beside a model's weights: which ones are taken along, and how."""

import json
import os
import shutil
from pathlib import Path

from registry.checkpoint.companions import NAMES, is_companion, nested_files
from registry.checkpoint.config import Config, read_json


def copy_all(source: Path, target: Path) -> None:
    """Copy the files beside the weights, config.json excepted."""
    names = sorted(NAMES | {path.name for path in source.glob("*.tiktoken")})
    names += (name for name in nested_files(source) if name not in NAMES)
    for name in filter(is_companion, names):
        path, copied = source / name, target / name
        if not path.is_file():
            continue
        copied.parent.mkdir(exist_ok=True)
        if path.name == "tokenizer_config.json":
            write_config(read_json(path), copied)
        else:
            shutil.copyfile(path, copied)


def write_config(config: Config, path: Path) -> None:
    """Write a config without `auto_map`: it names code of the repository, which nobody may run."""
    kept = {key: value for key, value in config.items() if key != "auto_map"}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False))


def place(path: Path, target: Path, may_link: bool) -> None:
    """Put a file into another folder: as a hard link if it may be one, else as a copy.

    A symbolic link, as in a hub's cache, is followed.
    """
    path = path.resolve()
    if may_link:
        try:
            os.link(path, target)
            return
        except OSError:  # another file system, or one without hard links
            pass
    shutil.copyfile(path, target)
