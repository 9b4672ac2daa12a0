"""Small tokenizers of every kind that is met, by how they split text and how they decode it."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from registry.checkpoint.tokenizer import byte_level, sentencepiece_model
from registry.checkpoint.tokenizer.patterns import KIMI
from registry.checkpoint.tokenizer.sentencepiece import Prefix, build
from tests.models.sentencepieces import LLAMA, train

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TEXTS = [
    "The quick brown fox jumps over the lazy dog, doesn't it ? Yes .",
    "def f(x):\n    if x:\n\treturn '  two'\n\n        # Grüße, 日本語, Ελληνικά 🙂👩‍👩‍👧 naïve",
    "  leading and trailing  ",
]


def bpe(pre_tokenizer: Any, decoder: Any, **options: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=None, **options))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        show_progress=False,
        special_tokens=BYTES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix=options.get("end_of_word_suffix", ""),
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return _nothing_special(tokenizer)


def _nothing_special(tokenizer: Tokenizer) -> Tokenizer:
    """What a trainer calls special stays in the vocabulary, as any other token."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = []
    plain: Tokenizer = Tokenizer.from_str(json.dumps(content))
    return plain


def byte_level_bpe() -> Tokenizer:
    return bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel())


def sentencepiece(*last: Any) -> Tokenizer:
    """What a Llama, a Gemma and the GGUF of either decode with."""
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last]
    splits = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return bpe(splits, decoders.Sequence(steps), byte_fallback=True)


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def _wordpiece(cleanup: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=cleanup)
    special = ["[UNK]", "[CLS]", "'", "?", ".", "n't", "'s", "do"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def _end_of_word(decoder: Any) -> Tokenizer:
    return bpe(pre_tokenizers.Whitespace(), decoder, end_of_word_suffix="</w>")


def _of_sentences(**options: Any) -> Tokenizer:
    """Made of a tokenizer.model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        path.write_bytes(train(**options))
        return _nothing_special(build(sentencepiece_model.read(path), Prefix.EVERY_STRETCH))


def _of_ranks() -> Tokenizer:
    """Made of the ranks of tiktoken, or of tekken.json."""
    words = (word.encode() for word in sorted(byte_level_bpe().get_vocab()) if word.isascii())
    tokens = dict.fromkeys([*(bytes([byte]) for byte in range(256)), *sorted(words, key=len)])
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return byte_level.build(byte_level.of_ranks(ranks, {}), [KIMI])


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "tokenizer.model": lambda: _of_sentences(**LLAMA),
    "tokenizer.model, spaces removed": lambda: _of_sentences(byte_fallback=True),
    "tokenizer.model, unigram": lambda: _of_sentences(model_type="unigram"),
    "ranks": _of_ranks,
    "byte-level": byte_level_bpe,
    "llama": lambda: sentencepiece(decoders.Strip(" ", 1, 0)),
    "gemma": sentencepiece,
    "strips both ends": lambda: sentencepiece(decoders.Strip(" ", 2, 2)),
    "replaces in the fused text": lambda: sentencepiece(
        decoders.Replace("  ", "__"), decoders.Replace("e\n", "")
    ),
    "unigram": _unigram,
    "metaspace, never before": lambda: bpe(
        pre_tokenizers.Metaspace(), decoders.Metaspace(prepend_scheme="never")
    ),
    "metaspace and bytes": lambda: bpe(
        pre_tokenizers.Metaspace(),
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]),
    ),
    "wordpiece": _wordpiece,
    "wordpiece, not cleaned": lambda: _wordpiece(False),
    "clip": lambda: _end_of_word(decoders.ByteLevel()),
    "end of word": lambda: _end_of_word(decoders.BPEDecoder(suffix="</w>")),
    "end of word, fused": lambda: _end_of_word(
        decoders.Sequence([decoders.Fuse(), decoders.BPEDecoder(suffix="</w>")])
    ),
    "regex": lambda: bpe(
        pre_tokenizers.Metaspace(),
        decoders.Sequence(
            [decoders.Replace(Regex("[▁e]+"), " "), decoders.Strip(" ", 0, 1), decoders.Fuse()]
        ),
    ),
    "no decoder": lambda: bpe(pre_tokenizers.Whitespace(), None),
    "whole answers only": lambda: bpe(pre_tokenizers.Whitespace(), decoders.CTC()),
}
