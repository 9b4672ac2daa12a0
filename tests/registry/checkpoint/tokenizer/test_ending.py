"""Tests of tokenizer.ending: the last token of a text, which is the vector of gte-Qwen2."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import ByteLevel

from registry.checkpoint.tokenizer.load import load
from tests.models.random_decoders import make_qwen_tokenizer

GTE = {"tokenizer_class": "Qwen2Tokenizer", "add_eos_token": True, "eos_token": "<|endoftext|>"}


def configure(folder: Path, **config: object) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("has_processor", [False, True])
def test_the_end_is_added_once(tmp_path: Path, has_processor: bool) -> None:
    """Where it is not there yet; a prompt, which holds its special tokens, gets none."""
    make_qwen_tokenizer(tmp_path)
    if has_processor:  # as Qwen's own file has
        bare = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        bare.post_processor = ByteLevel(trim_offsets=False)
        bare.save(str(tmp_path / "tokenizer.json"))
    configure(tmp_path, **GTE)
    tokenizer = load(tmp_path)
    assert tokenizer.encode("yes").tokens == ["yes", "<|endoftext|>"]
    assert tokenizer.encode("yes", "no").tokens == ["yes", "no", "<|endoftext|>"]
    assert tokenizer.encode("yes", add_special_tokens=False).tokens == ["yes"]
    make_qwen_tokenizer(tmp_path, ends=True)
    configure(tmp_path, **GTE)
    assert load(tmp_path).encode("yes").tokens == ["yes", "<|endoftext|>"]


@pytest.mark.parametrize(
    "change", [{"add_eos_token": False}, {"tokenizer_class": "PreTrainedTokenizerFast"}]
)
def test_nothing_is_added_to_others(tmp_path: Path, change: dict[str, object]) -> None:
    """As transformers, which adds nothing there either."""
    make_qwen_tokenizer(tmp_path)
    configure(tmp_path, **(GTE | change))
    assert load(tmp_path).encode("yes").tokens == ["yes"]
