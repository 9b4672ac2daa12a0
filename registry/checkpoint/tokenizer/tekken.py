"""Mistral's own tokenizer file (tekken.json): tiktoken's ranks behind the special tokens.

As `Tekkenizer` of mistral-common reads it (tokens/tokenizers/tekken.py).
"""

import base64
import re
from pathlib import Path

import msgspec
from tokenizers import AddedToken, Tokenizer
from tokenizers.processors import TemplateProcessing

from registry.errors import NotAModel

from . import byte_level

# Of files that do not list them, up to version 7.
_OLD_SPECIAL = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] "
    "[/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()
_BEGIN = "<s>"
_POSSESSIVE = re.compile(r"(\{[\d,]+\})\+")  # see `patterns`


class _Word(msgspec.Struct):
    rank: int
    token_bytes: str


class _Special(msgspec.Struct):
    rank: int
    token_str: str
    is_control: bool = True


class _Config(msgspec.Struct):
    pattern: str
    default_vocab_size: int
    default_num_special_tokens: int


class _File(msgspec.Struct):
    config: _Config
    vocab: list[_Word]
    special_tokens: list[_Special] | None = None


def build(path: Path) -> Tokenizer:
    """The tokenizer of tekken.json. Raises OSError, NotAModel."""
    try:
        return _tokenizer(msgspec.json.decode(path.read_bytes(), type=_File))
    except (ValueError, msgspec.MsgspecError) as error:
        raise NotAModel(f"{path.name} cannot be used: {error}.") from None


def _tokenizer(file: _File) -> Tokenizer:
    first = file.config.default_num_special_tokens
    special = file.special_tokens
    if special is None:
        special = [_Special(rank, text) for rank, text in enumerate(_OLD_SPECIAL)]
    listed = {token.rank for token in special}
    special += [_Special(id, f"<SPECIAL_{id}>") for id in range(first) if id not in listed]
    # The vocabulary is larger than the model's, which has the beginning of it.
    ranks = {
        base64.b64decode(word.token_bytes, validate=True): word.rank
        for word in file.vocab
        if word.rank < file.config.default_vocab_size - first
    }
    if sorted(ranks.values()) != list(range(file.config.default_vocab_size - first)):
        raise ValueError("its ranks are not as many as its default_vocab_size says")
    if sorted(token.rank for token in special) != list(range(first)):
        raise ValueError("its special tokens are not as many as its config says")
    model = byte_level.of_ranks(ranks, {token.token_str: token.rank for token in special}, first)
    pattern = _POSSESSIVE.sub(r"\1", file.config.pattern)
    tokenizer = byte_level.build(model, [pattern])
    tokenizer.add_tokens(
        [
            AddedToken(token.token_str, special=token.is_control, normalized=False)
            for token in sorted(special, key=lambda token: token.rank)
        ]
    )
    if (begin := tokenizer.token_to_id(_BEGIN)) is not None:
        tokenizer.post_processor = TemplateProcessing(
            single=[_BEGIN, "$A"], special_tokens=[(_BEGIN, begin)]
        )
    return tokenizer
