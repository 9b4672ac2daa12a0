"""Tests of checkpoint.tokenizer.word_pairs and wordpiece: the ids of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, trainers
from tokenizers.pre_tokenizers import BertPreTokenizer
from transformers import (
    BertTokenizer,
    GPT2Tokenizer,
    Qwen2Tokenizer,
    RobertaTokenizer,
)

from registry.checkpoint.tokenizer.load import load
from tests.models.texts import TEXTS, TRAINING
from tests.models.vocabularies import (
    check_same,
    configure,
    learnt_bpe,
)


def _write_word_pairs(folder: Path, *special: str) -> None:
    content = json.loads(learnt_bpe().to_str())["model"]
    ids = content["vocab"]
    ids |= {token: len(ids) + place for place, token in enumerate(special)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    merges = [" ".join(merge) for merge in content["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))


@pytest.mark.parametrize(
    ("original", "config"),
    [
        (GPT2Tokenizer, {}),
        (GPT2Tokenizer, {"add_prefix_space": True}),
        (Qwen2Tokenizer, {}),
        (RobertaTokenizer, {}),
        (RobertaTokenizer, {"add_prefix_space": True}),
    ],
)
def test_word_pairs_are_read_as_their_class_does(
    tmp_path: Path, original: Any, config: dict[str, Any]
) -> None:
    """vocab.json and merges.txt: the pattern is the class's."""
    special: tuple[str, ...] = ("<|endoftext|>",)
    if original is RobertaTokenizer:
        special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    _write_word_pairs(tmp_path, *special)
    configure(tmp_path, tokenizer_class=original.__name__, **config)
    oracle, tokenizer = original.from_pretrained(tmp_path), load(tmp_path)
    check_same(tokenizer, lambda text: oracle.encode(text, add_special_tokens=False), TEXTS)
    for text in TEXTS[:40]:
        assert tokenizer.encode(text).ids == oracle.encode(text)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == oracle.decode(ids, skip_special_tokens=True)
    marked = f"The{special[0]}quick {special[0]} fox"
    assert tokenizer.encode(marked).ids == oracle.encode(marked)
    if original is RobertaTokenizer:  # as transformers 4 had it; 5 lost it
        masked = tokenizer.encode("The <mask>", add_special_tokens=False)
        assert masked.ids == tokenizer.encode("The<mask>", add_special_tokens=False).ids


@pytest.mark.parametrize("config", [{}, {"do_lower_case": False}, {"strip_accents": True}])
def test_wordpiece_is_read_as_bert_does(tmp_path: Path, config: dict[str, Any]) -> None:
    """vocab.txt, a token a line."""
    learnt = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learnt.normalizer = normalizers.BertNormalizer(lowercase=config.get("do_lower_case", True))
    learnt.pre_tokenizer = BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    learnt.train_from_iterator(TRAINING, trainer)
    lines = sorted(learnt.get_vocab().items(), key=lambda token: token[1])
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in lines))
    configure(tmp_path, tokenizer_class="BertTokenizer", **config)
    oracle, tokenizer = BertTokenizer.from_pretrained(tmp_path), load(tmp_path)
    check_same(tokenizer, lambda text: oracle.encode(text, add_special_tokens=False), TEXTS)
    pair = tokenizer.encode("The quick", "fox [MASK]")
    expected = oracle("The quick", "fox [MASK]")
    assert (pair.ids, pair.type_ids) == (expected["input_ids"], expected["token_type_ids"])
