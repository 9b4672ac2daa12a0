"""Byte-level BPE in two files, as GPT-2 had it: vocab.json and merges.txt."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from tokenizers.processors import RobertaProcessing

from registry.errors import NotAModel

from . import byte_level, classes
from .patterns import GPT2
from .vocabulary import WORD_PAIRS


def build(path: Path) -> Tokenizer:
    """The tokenizer of vocab.json and the merges beside it. Raises NotAModel."""
    kind = classes.WORD_PAIRS[classes.name_of(path.parent)]
    adds_space = classes.config_of(path.parent).get("add_prefix_space") is True
    merges = path.with_name(WORD_PAIRS[1])
    try:
        ids, pairs = models.BPE.read_file(str(path), str(merges))
        model = models.BPE(ids, pairs)
    except Exception as error:  # from Rust, for a merge that is not in the vocabulary, say
        raise NotAModel(f"{path.name} and {merges.name} make no tokenizer: {error}.") from None
    tokenizer = byte_level.build(model, [kind.pattern], is_nfc=kind.is_nfc)
    if adds_space and kind.pattern == GPT2:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.add_tokens(
        [AddedToken(text, special=True, normalized=False) for text in kind.special if text in ids]
    )
    if kind.has_ends:
        _add_ends(tokenizer, ids)
    return tokenizer


def _add_ends(tokenizer: Tokenizer, ids: dict[str, int]) -> None:
    """RoBERTa's: <s> text </s>, and its mask, which takes the space before it."""
    if "<mask>" in ids:
        tokenizer.add_tokens([AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    if {"<s>", "</s>"} <= ids.keys():
        tokenizer.post_processor = RobertaProcessing(
            ("</s>", ids["</s>"]), ("<s>", ids["<s>"]), trim_offsets=False
        )
