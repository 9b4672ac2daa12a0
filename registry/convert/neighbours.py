"""The files beside a model's weights: which ones are taken along, and how."""

import json
import os
import shutil
from pathlib import Path

from registry.verify import Config, read_json

# By name, not by suffix: repositories hold training data as .json and .txt, too. Never code.
_NAMES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "tiktoken.model"),
    *("spiece.model", "sentencepiece.bpe.model"),
    *("chat_template.jinja", "chat_template.json", "generation_config.json"),
    *("hf_quant_config.json", "modules.json", "sentence_bert_config.json"),
    *("config_sentence_transformers.json", "1_Pooling/config.json"),
)


def copy_all(source: Path, target: Path) -> None:
    """Copy the files beside the weights, config.json excepted."""
    named = [source / name for name in _NAMES]
    for path in (*named, *source.glob("*.tiktoken")):
        if not path.is_file():
            continue
        copied = target / path.relative_to(source)
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
    """Put a file into another folder: as a second name of the same bytes if it may be, or a copy.

    A link of a hub's cache is followed to the bytes.
    """
    path = path.resolve()
    if may_link:
        try:
            os.link(path, target)
            return
        except OSError:  # another file system, or one without hard links
            pass
    shutil.copyfile(path, target)
