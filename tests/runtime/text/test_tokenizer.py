"""Tests of text.tokenizer: the tokens of transformers' AutoTokenizer, and of the engine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer

from registry.checkpoint.tokenizer.load import load
from registry.checkpoint.tokenizer.patterns import CL100K, QWEN2
from runtime.text.tokenizer import ModelTokenizer
from tests.models.texts import TEXTS, TRAINING

_SPECIAL = ["<unk>", "<s>", "</s>", "[CLS]", "[SEP]", "[UNK]"]


def _bpe(pre_tokenizer: Any, decoder: Any, **options: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        show_progress=False,
        special_tokens=[*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = []  # the bytes are plain tokens
    plain: Tokenizer = Tokenizer.from_str(json.dumps(content))
    return plain


def _byte_level(pattern: str, **options: Any) -> Tokenizer:
    splits = pre_tokenizers.Split(Regex(pattern), "isolated")
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return _bpe(pre_tokenizers.Sequence([splits, in_bytes]), decoders.ByteLevel(), **options)


def _gpt2() -> Tokenizer:
    return _bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel())


def _llama3() -> Tokenizer:
    tokenizer = _byte_level(CL100K, ignore_merges=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def _qwen() -> Tokenizer:
    tokenizer = _byte_level(QWEN2)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _llama2() -> Tokenizer:
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer = _bpe(
        pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
        decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)]),
        byte_fallback=True,
        fuse_unk=True,
        unk_token="<unk>",
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=_SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    return tokenizer


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=600, special_tokens=_SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3))
    return tokenizer


_KINDS: dict[str, tuple[Callable[[], Tokenizer], str]] = {
    "gpt2": (_gpt2, "GPT2Tokenizer"),
    "llama 3": (_llama3, "PreTrainedTokenizerFast"),
    "qwen": (_qwen, "Qwen2Tokenizer"),
    "llama 2": (_llama2, "PreTrainedTokenizerFast"),
    "unigram": (_unigram, "PreTrainedTokenizerFast"),
    "wordpiece": (_wordpiece, "PreTrainedTokenizerFast"),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_tokens_are_those_of_transformers_and_of_the_engine(tmp_path: Path, kind: str) -> None:
    """What is counted before a request is what is computed, and what the model was trained with."""
    make, name = _KINDS[kind]
    tokenizer = make()
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("</s>", special=True)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": name, "eos_token": "</s>", "clean_up_tokenization_spaces": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    oracle, engine = AutoTokenizer.from_pretrained(tmp_path), load(tmp_path)
    text = ModelTokenizer(tmp_path)
    assert len(TEXTS) > 200
    for prompt in TEXTS:
        ids = text.prompt(prompt)
        assert ids == oracle.encode(prompt, add_special_tokens=False), prompt
        assert ids == engine.encode(prompt, add_special_tokens=False).ids
        assert engine.decode(ids) == oracle.decode(ids, skip_special_tokens=True)
    rows, _ = text.texts(TEXTS, None, 12)
    assert rows == oracle(TEXTS, truncation=True, max_length=12)["input_ids"]
    pairs, _ = text.texts(TEXTS, "The quick", None)
    assert pairs == oracle(["The quick"] * len(TEXTS), TEXTS)["input_ids"]
