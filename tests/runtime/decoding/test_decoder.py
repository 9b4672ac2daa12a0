"""Tests of decoding.decoder: token by token, what `tokenizers` decodes of the whole answer."""

import json
import random
import tempfile
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
    trainers,
)

from registry.checkpoint.tokenizer import byte_level, sentencepiece_model
from registry.checkpoint.tokenizer.patterns import KIMI
from registry.checkpoint.tokenizer.sentencepiece import Prefix, build
from runtime.decoding.decoder import Decoder
from tests.models.sentencepieces import LLAMA, train

_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_TEXTS = [
    "The quick brown fox jumps over the lazy dog, doesn't it ? Yes .",
    "def f(x):\n    if x:\n\treturn '  two'\n\n        # Grüße, 日本語, Ελληνικά 🙂👩‍👩‍👧 naïve",
    "  leading and trailing  ",
]
_EXTRA = [
    AddedToken("<|end|>", special=True),
    AddedToken("<think>", special=False, normalized=False),
    AddedToken("<two words>", special=False, normalized=False),
]


def _bpe(pre_tokenizer: Any, decoder: Any, **options: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=None, **options))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        show_progress=False,
        special_tokens=_BYTES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix=options.get("end_of_word_suffix", ""),
    )
    tokenizer.train_from_iterator(_TEXTS * 3, trainer)
    return _nothing_special(tokenizer)


def _nothing_special(tokenizer: Tokenizer) -> Tokenizer:
    """What a trainer calls special stays in the vocabulary, as any other token."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = []
    plain: Tokenizer = Tokenizer.from_str(json.dumps(content))
    return plain


def _byte_level() -> Tokenizer:
    return _bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel())


def _sentencepiece(*last: Any) -> Tokenizer:
    """What a Llama, a Gemma and the GGUF of either decode with."""
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last]
    splits = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return _bpe(splits, decoders.Sequence(steps), byte_fallback=True)


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(_TEXTS * 3, trainer)
    return tokenizer


def _wordpiece(cleanup: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=cleanup)
    special = ["[UNK]", "[CLS]", "'", "?", ".", "n't", "'s", "do"]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_TEXTS * 3, trainer)
    return tokenizer


def _end_of_word(decoder: Any) -> Tokenizer:
    return _bpe(pre_tokenizers.Whitespace(), decoder, end_of_word_suffix="</w>")


def _of_sentences(**options: Any) -> Tokenizer:
    """Made of a tokenizer.model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        path.write_bytes(train(**options))
        return _nothing_special(build(sentencepiece_model.read(path), Prefix.EVERY_STRETCH))


def _of_ranks() -> Tokenizer:
    """Made of the ranks of tiktoken, or of tekken.json."""
    words = (word.encode() for word in sorted(_byte_level().get_vocab()) if word.isascii())
    tokens = dict.fromkeys([*(bytes([byte]) for byte in range(256)), *sorted(words, key=len)])
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return byte_level.build(byte_level.of_ranks(ranks, {}), [KIMI])


_KINDS: dict[str, Callable[[], Tokenizer]] = {
    "tokenizer.model": lambda: _of_sentences(**LLAMA),
    "tokenizer.model, spaces removed": lambda: _of_sentences(byte_fallback=True),
    "tokenizer.model, unigram": lambda: _of_sentences(model_type="unigram"),
    "ranks": _of_ranks,
    "byte-level": _byte_level,
    "llama": lambda: _sentencepiece(decoders.Strip(" ", 1, 0)),
    "gemma": _sentencepiece,
    "strips both ends": lambda: _sentencepiece(decoders.Strip(" ", 2, 2)),
    "replaces in the fused text": lambda: _sentencepiece(
        decoders.Replace("  ", "__"), decoders.Replace("e\n", "")
    ),
    "unigram": _unigram,
    "metaspace, never before": lambda: _bpe(
        pre_tokenizers.Metaspace(), decoders.Metaspace(prepend_scheme="never")
    ),
    "metaspace and bytes": lambda: _bpe(
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
    "regex": lambda: _bpe(
        pre_tokenizers.Metaspace(),
        decoders.Sequence(
            [decoders.Replace(Regex("[▁e]+"), " "), decoders.Strip(" ", 0, 1), decoders.Fuse()]
        ),
    ),
    "no decoder": lambda: _bpe(pre_tokenizers.Whitespace(), None),
    "whole answers only": lambda: _bpe(pre_tokenizers.Whitespace(), decoders.CTC()),
}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    made = {kind: make() for kind, make in _KINDS.items()}
    for tokenizer in made.values():
        tokenizer.add_tokens(_EXTRA)
    return made


def _id(tokenizer: Tokenizer, token: str) -> int:
    id = tokenizer.token_to_id(token)
    assert id is not None
    return id


def _answers(tokenizer: Tokenizer) -> list[list[int]]:
    """Token sequences of text, of chance, and of both with special and unknown tokens between."""
    draw = random.Random(3)
    size = tokenizer.get_vocab_size()
    extra = [_id(tokenizer, token.content) for token in _EXTRA] + [size + 5]
    answers = [tokenizer.encode(text, add_special_tokens=False).ids for text in _TEXTS]
    answers += [[draw.randrange(size) for _ in range(draw.randint(1, 30))] for _ in range(150)]
    for _ in range(60):
        answer = list(draw.choice(answers))
        for _ in range(draw.randint(1, 4)):
            answer.insert(draw.randint(0, len(answer)), draw.choice(extra))
        answers.append(answer)
    return answers


@pytest.mark.parametrize("kind", _KINDS)
def test_deltas_are_the_whole_answer(tokenizers: dict[str, Tokenizer], kind: str) -> None:
    """Joined, they are its text; and at no token was anything sent that is not in it."""
    tokenizer = tokenizers[kind]
    decoder = Decoder(tokenizer)
    for answer in _answers(tokenizer):
        answer = [*answer, *tokenizer.encode("end", add_special_tokens=False).ids]
        whole = tokenizer.decode(answer, skip_special_tokens=True)
        stream, sent = decoder.stream(), ""
        for token in answer:
            sent += stream.add(token)
            assert whole.startswith(sent)
        assert sent + stream.finish() == whole


# `tokenizers` panics where there is nothing to strip at the end.
@pytest.mark.parametrize("kind", sorted(_KINDS.keys() - {"strips both ends"}))
def test_an_answer_may_end_anywhere(tokenizers: dict[str, Tokenizer], kind: str) -> None:
    """After any token, it is what that much decodes to, but for broken characters at the end."""
    tokenizer = tokenizers[kind]
    decoder = Decoder(tokenizer)
    for answer in _answers(tokenizer)[::5]:
        for length in range(len(answer)):
            stream = decoder.stream()
            sent = "".join(stream.add(token) for token in answer[:length]) + stream.finish()
            cut = tokenizer.decode(answer[:length], skip_special_tokens=True)
            if not cut.endswith("\ufffd"):
                assert sent == cut
            else:
                assert not sent.endswith("\ufffd") and sent.startswith(cut.rstrip("\ufffd"))


def test_special_tokens_within_an_answer_are_left_out(tokenizers: dict[str, Tokenizer]) -> None:
    """The others that were added are text, as a parser of thoughts needs them."""
    tokenizer = tokenizers["byte-level"]
    stream = Decoder(tokenizer).stream()
    ids = tokenizer.encode("<think>three<|end|> after").ids
    assert "".join(map(stream.add, ids)) + stream.finish() == "<think>three after"


# `tokenizers` itself replaces letters in them, or has to see the whole answer.
@pytest.mark.parametrize("kind", sorted(_KINDS.keys() - {"regex", "whole answers only"}))
def test_special_tokens_that_are_marks_are_text(
    tokenizers: dict[str, Tokenizer], kind: str
) -> None:
    """Only those that are asked for, and nothing around them changes."""
    tokenizer = tokenizers[kind]
    decoder = Decoder(tokenizer)
    ids = tokenizer.encode("three<|end|>after<|end|>", add_special_tokens=False).ids
    stream = decoder.stream("<call> <|end|>")
    assert "".join(map(stream.add, ids)) + stream.finish() == tokenizer.decode(
        ids, skip_special_tokens=False
    )
    other = decoder.stream("<call>")
    assert "<|end|>" not in "".join(map(other.add, ids)) + other.finish()


def test_indentation_behind_a_newline_is_kept(tokenizers: dict[str, Tokenizer]) -> None:
    """Line by line, which a decoder of windows loses (tokenizers #2212)."""
    text = "def f():\n    return 1\n\n        x"
    for kind in ("byte-level", "llama", "gemma"):
        tokenizer = tokenizers[kind]
        tokenizer.decode(tokenizer.encode(text).ids)
        stream = Decoder(tokenizer).stream()
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        sent = "".join(map(stream.add, ids)) + stream.finish()
        assert sent.removeprefix(" ") == text  # Gemma's decoder keeps the space that it puts first


def test_a_run_of_bytes_that_is_cut_loses_only_the_last_character(
    tokenizers: dict[str, Tokenizer],
) -> None:
    """The characters before were complete."""
    tokenizer = tokenizers["llama"]
    stream = Decoder(tokenizer).stream()
    run = b"ok" + "🙂🚀".encode()[:-1]
    sent = "".join(stream.add(_id(tokenizer, _BYTES[byte])) for byte in run)
    assert sent + stream.finish() == "ok🙂"
