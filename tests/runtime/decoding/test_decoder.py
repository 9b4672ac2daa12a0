"""Tests of decoding.decoder: token by token, what `tokenizers` decodes of the whole answer."""

import random

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
)

from runtime.decoding.decoder import Decoder
from tests.models.tokenizer_kinds import BYTES, KINDS, TEXTS

_EXTRA = [
    AddedToken("<|end|>", special=True),
    AddedToken("<think>", special=False, normalized=False),
    AddedToken("<two words>", special=False, normalized=False),
]


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    made = {kind: make() for kind, make in KINDS.items()}
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
    answers = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    answers += [[draw.randrange(size) for _ in range(draw.randint(1, 30))] for _ in range(150)]
    for _ in range(60):
        answer = list(draw.choice(answers))
        for _ in range(draw.randint(1, 4)):
            answer.insert(draw.randint(0, len(answer)), draw.choice(extra))
        answers.append(answer)
    return answers


@pytest.mark.parametrize("kind", KINDS)
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
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"strips both ends"}))
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
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"regex", "whole answers only"}))
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
    sent = "".join(stream.add(_id(tokenizer, BYTES[byte])) for byte in run)
    assert sent + stream.finish() == "ok🙂"
