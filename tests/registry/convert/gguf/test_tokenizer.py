"""Tests of convert.gguf.tokenizer: rebuilt from metadata, it splits text as the original does."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, trainers
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

from registry.checkpoint.tokenizer.sentencepiece_model import read as read_model
from registry.checkpoint.weights import read_header
from registry.convert.gguf.tokenizer import write_tokenizer
from registry.errors import NotAModel
from tests.models.gguf_files import tokenizer_metadata
from tests.models.sentencepieces import train
from tests.models.texts import TEXTS as MANY_TEXTS
from tests.packages import unpacked

SEPARATOR = "\n__ggml_vocab_test__\n"  # between the texts of llama.cpp's .inp files
TEXTS = [
    "",
    " ",
    "  two  spaces\n\n\nand lines\t\ttabs  ",
    "The quick brown fox doesn't jump; it'll SLEEP, I'VE heard.",
    "Grüße aus Köln! 日本語のテキスト 🙂🚀👩‍👩‍👧 — naïve café, Ελληνικά, русский ½ Ⅷ",
    "cafe\u0301 un-normalised, and \u00e9 normalised",
    "def f(x: int) -> str:\n    return f'{x:>10}' if x != 3.14159 else \"no\"  # 1234567\r\n",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "text<|endoftext|> more<tool>text</tool>",
    "1 12 123 1234 12345 1,000,000 0x1F ٣٤٥",
    "a\u0000b \u200b zero \ufeff width",
]

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def by_pattern(pattern: str) -> PreTokenizer:
    bytes_only = ByteLevel(add_prefix_space=False, use_regex=False)
    return Sequence([Split(Regex(pattern), "isolated"), bytes_only])


# As the repositories of these models have them.
ORIGINALS: dict[str, Callable[[], PreTokenizer]] = {
    "gpt-2": lambda: ByteLevel(add_prefix_space=False),
    "smollm": lambda: Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
    "llama-bpe": lambda: by_pattern(LLAMA3_PATTERN),
    "qwen2": lambda: by_pattern(QWEN2_PATTERN),
}


def byte_level(folder: Path, pre: str) -> Tokenizer:
    """A small BPE as a model of this pre-tokenizer has it; its files are in `folder`."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = ORIGINALS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": "{{ x }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer


def rebuilt(folder: Path, metadata: dict[str, Any]) -> Tokenizer:
    target = folder / "rebuilt"
    target.mkdir(exist_ok=True)
    write_tokenizer(metadata, target)
    return Tokenizer.from_file(str(target / "tokenizer.json"))


@pytest.mark.parametrize("pre", ORIGINALS)
def test_byte_level_comes_back(tmp_path: Path, pre: str) -> None:
    """Ids and text are the original's: words, digits, code, emoji, markers, broken whitespace."""
    original = byte_level(tmp_path, pre)
    copy = rebuilt(tmp_path, tokenizer_metadata(tmp_path, pre))
    for text in TEXTS:
        ids = original.encode(text).ids
        assert copy.encode(text).ids == ids, text
        assert copy.decode(ids) == original.decode(ids)
        assert copy.decode(ids, skip_special_tokens=False) == original.decode(
            ids, skip_special_tokens=False
        )
    assert copy.get_vocab() == original.get_vocab()

    @settings(max_examples=200, deadline=None)
    @given(st.text())
    def any_text(text: str) -> None:
        assert copy.encode(text).ids == original.encode(text).ids

    any_text()
    config = json.loads((tmp_path / "rebuilt/tokenizer_config.json").read_bytes())
    assert (config["eos_token"], config["pad_token"]) == ("<|im_end|>", "<|endoftext|>")
    assert config["chat_template"] == "{{ x }}"


def sentencepiece_model(vocabulary_size: int = 460) -> Any:
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for text in TEXTS if text.strip()] * 4),
        model_writer=trained,
        model_type="bpe",
        vocab_size=vocabulary_size,
        byte_fallback=True,
        character_coverage=0.98,
        split_digits=True,
        user_defined_symbols=["<tool>"],
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())


def sentencepiece_metadata(model: Any) -> dict[str, Any]:
    """What the converter says of a tokenizer.model."""
    ids = range(model.vocab_size())
    kinds = [
        2 if model.is_unknown(id) else 3 if model.is_control(id) else 6 if model.is_byte(id)
        else 4 if model.id_to_piece(id) == "<tool>" else 1
        for id in ids
    ]  # fmt: skip
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [model.id_to_piece(id) for id in ids],
        "tokenizer.ggml.scores": [model.get_score(id) for id in ids],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": model.bos_id(),
        "tokenizer.ggml.eos_token_id": model.eos_id(),
        "tokenizer.ggml.unknown_token_id": model.unk_id(),
    }


def test_sentencepiece_comes_back(tmp_path: Path) -> None:
    """Ids and text are those of the sentencepiece library, bytes of unknown characters included."""
    original = sentencepiece_model()
    copy = rebuilt(tmp_path, sentencepiece_metadata(original))
    # A marker splits the text for llama.cpp, which then puts a space; sentencepiece does not.
    texts = [text for text in TEXTS if text and "<tool>" not in text]
    for text in texts:
        ids = original.encode(text)
        assert copy.encode(text, add_special_tokens=False).ids == ids, text
        assert copy.decode(ids) == original.decode(ids)
    assert copy.encode("a").ids == [original.bos_id(), *original.encode("a")]

    @settings(max_examples=200, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁\0"), min_size=1))
    def any_text(text: str) -> None:
        assert copy.encode(text, add_special_tokens=False).ids == original.encode(text)

    any_text()
    marked = copy.encode("<tool>x", add_special_tokens=False).tokens
    assert marked[0] == "<tool>" and "".join(marked[1:]).lstrip("▁") == "x"


@pytest.mark.parametrize("options", [{}, {"byte_fallback": True}, {"add_dummy_prefix": False}])
def test_a_unigram_model_comes_back(tmp_path: Path, options: dict[str, Any]) -> None:
    """What XLM-R and multilingual E5 have, with its replacements of characters."""
    (tmp_path / "tokenizer.model").write_bytes(train(model_type="unigram", **options))
    model = read_model(tmp_path / "tokenizer.model")
    original = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    known = sentencepiece_metadata(original) | {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.precompiled_charsmap": [byte - (byte & 128) * 2 for byte in model.charsmap],
        "tokenizer.ggml.remove_extra_whitespaces": 1,
        "tokenizer.ggml.add_space_prefix": int(options.get("add_dummy_prefix", True)),
    }
    copy = rebuilt(tmp_path, known)
    for text in (text for text in MANY_TEXTS if "</s>" not in text and "\u0301" not in text):
        assert copy.encode(text, add_special_tokens=False).ids == original.encode(text), text
    assert copy.encode("a").ids == [*original.encode("a"), original.eos_id()]
    copy = rebuilt(tmp_path, known | {"tokenizer.ggml.add_bos_token": 1})
    assert copy.encode("a").ids == [original.bos_id(), *original.encode("a"), original.eos_id()]


def metadata(**changes: Any) -> dict[str, Any]:
    """Of the smallest vocabulary, with some of its keys changed; None takes one away."""
    smallest = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": ["a", "b", "ab", "<s>"],
        "token_type": [1, 1, 1, 3],
        "merges": ["a b"],
        "bos_token_id": 3,
    }
    chosen = smallest | changes
    return {f"tokenizer.ggml.{key}": value for key, value in chosen.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"tokens": None}, "no vocabulary"),
        ({"tokens": []}, "no vocabulary"),
        ({"tokens": [1, 2, 3, 4]}, "no vocabulary"),
        ({"token_type": [1]}, "token_type does not fit"),
        ({"model": "rwkv"}, "'gpt2', 'gemma4', 'llama', 't5' and 'bert'"),
        ({"model": None}, "'gpt2', 'gemma4', 'llama', 't5' and 'bert'"),
        ({"pre": "of-tomorrow"}, "'of-tomorrow' is not one of .*deepseek-llm.* gpt-2"),
        ({"merges": None}, "no list of strings tokenizer.ggml.merges"),
        ({"merges": [1]}, "no list of strings"),
        ({"merges": ["a z"]}, "makes no tokenizer"),
        ({"merges": ["ab"]}, "makes no tokenizer"),
        ({"model": "llama"}, "scores do not fit"),
        ({"model": "llama", "scores": [1.0]}, "scores do not fit"),
        ({"model": "t5", "scores": [1.0] * 4}, "no unknown token"),
    ],
)
def test_what_is_no_vocabulary_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: str
) -> None:
    """Each thing that is missing or unknown is named."""
    with pytest.raises(NotAModel, match=error):
        rebuilt(tmp_path, metadata(**changes))


def test_a_token_of_no_kind_is_never_joined(tmp_path: Path) -> None:
    """Older files have the kind 0, which says nothing."""
    changes = {"model": "llama", "scores": [0.0, -1.0, -2.0, 0.0], "token_type": [1, 1, 1, 0]}
    copy = rebuilt(tmp_path, metadata(**changes, tokens=["▁", "a", "▁a", "<s>"]))
    assert copy.encode("a", add_special_tokens=False).tokens == ["▁a"]
    changes["token_type"] = [1, 1, 0, 3]
    copy = rebuilt(tmp_path, metadata(**changes, tokens=["▁", "a", "▁a", "<s>"]))
    assert copy.encode("a", add_special_tokens=False).tokens == ["▁", "a"]


def test_ids_out_of_the_vocabulary_are_no_tokens(tmp_path: Path) -> None:
    """A file may name any number as its first token; it has none then."""
    for wrong in (-1, 4, 1 << 62, "3", None):
        copy = rebuilt(tmp_path, metadata(bos_token_id=wrong, add_bos_token=1))
        assert copy.encode("ab").tokens == ["ab"]
    copy = rebuilt(tmp_path, metadata(add_bos_token=1))
    assert copy.encode("ab").tokens == ["<s>", "ab"]
    assert copy.encode("ab", add_special_tokens=False).tokens == ["ab"]


def expected_ids() -> list[str]:
    """The vocabularies of llama.cpp that come with texts and their ids."""
    names = "bert-bge command-r deepseek-coder deepseek-llm falcon gemma-4 gpt-2 llama-bpe"
    return (names + " llama-spm mpt phi-3 qwen2 qwen35 refact starcoder").split()


@pytest.mark.slow
@pytest.mark.parametrize("name", expected_ids())
def test_real_vocabularies_give_the_published_ids(tmp_path: Path, name: str) -> None:
    """llama.cpp publishes texts and the ids that a vocabulary makes of them: ours are the same."""
    folder = unpacked("llama-cpp-python", "0.3.36", is_source=True)
    (path,) = folder.glob(f"*/vendor/llama.cpp/models/ggml-vocab-{name}.gguf")
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split(SEPARATOR)
    lines = path.with_suffix(".gguf.out").read_text().splitlines()
    if not texts[-1].strip():  # most files end with a separator
        texts.pop()
    assert len(texts) > 40
    copy = rebuilt(tmp_path, read_header(path, with_arrays=True).metadata)
    for text, line in zip(texts, lines, strict=True):
        ids = [int(id) for id in line.split()]
        assert copy.encode(text, add_special_tokens=False).ids == ids, text
