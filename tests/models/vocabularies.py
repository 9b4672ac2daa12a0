"""Vocabularies as folders have them instead of a tokenizer.json, and whether one is read right."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import ByteLevel

from registry.checkpoint.tokenizer import byte_level
from tests.models.texts import TEXTS, TRAINING

_LETTERS = {byte_level.written(bytes([byte])): byte for byte in range(256)}


def configure(folder: Path, **config: Any) -> None:
    """Write tokenizer_config.json."""
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def learnt_bpe() -> Tokenizer:
    """A small byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    return tokenizer


def learnt_ranks() -> dict[bytes, int]:
    """Bytes first, then what was learnt, as tiktoken numbers its tokens."""
    learnt = sorted(learnt_bpe().get_vocab().items(), key=lambda token: token[1])
    tokens = [bytes(_LETTERS[letter] for letter in token) for token, _ in learnt]
    tokens.sort(key=len)  # stable; so that a rank may be better than that of what it is made of
    return {token: rank for rank, token in enumerate(tokens)}


def write_ranks(path: Path, ranks: dict[bytes, int]) -> None:
    """As a file of tiktoken."""
    lines = [base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()]
    path.write_bytes(b"".join(lines))


def check_same(tokenizer: Tokenizer, ids_of: Callable[[str], list[int]], texts: list[str]) -> None:
    """Whether the tokenizer gives these ids for the texts, of which there are many."""
    assert len(texts) > 200
    for text in texts:
        assert tokenizer.encode(text, add_special_tokens=False).ids == ids_of(text), text


def texts_without(*marks: str) -> list[str]:
    """Those that have none of these in them."""
    return [text for text in TEXTS if not any(mark in text for mark in marks)]
