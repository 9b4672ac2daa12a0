"""Tests of checkpoint.tokenizer.build and classes: folders without a tokenizer.json."""

import base64
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tiktoken
from tokenizers import Tokenizer, models, normalizers, trainers
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    GPT2Tokenizer,
    Qwen2Tokenizer,
    RobertaTokenizer,
)

from registry.checkpoint.tokenizer import byte_level
from registry.checkpoint.tokenizer.load import load, write
from registry.checkpoint.tokenizer.patterns import CL100K, KIMI, QWEN2, TEKKEN
from registry.errors import NotAModel
from tests.models.sentencepieces import LLAMA, train
from tests.models.texts import TEXTS, TRAINING
from tests.packages import unpacked

_LETTERS = {byte_level.written(bytes([byte])): byte for byte in range(256)}


def _configure(folder: Path, **config: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _learnt_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    return tokenizer


def _ranks() -> dict[bytes, int]:
    """Bytes first, then what was learnt, as tiktoken numbers its tokens."""
    learnt = sorted(_learnt_bpe().get_vocab().items(), key=lambda token: token[1])
    tokens = [bytes(_LETTERS[letter] for letter in token) for token, _ in learnt]
    tokens.sort(key=len)  # stable; so that a rank may be better than that of what it is made of
    return {token: rank for rank, token in enumerate(tokens)}


def _write_ranks(path: Path, ranks: dict[bytes, int]) -> None:
    lines = [base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()]
    path.write_bytes(b"".join(lines))


def _same(tokenizer: Tokenizer, ids_of: Callable[[str], list[int]], texts: list[str]) -> None:
    assert len(texts) > 200
    for text in texts:
        assert tokenizer.encode(text, add_special_tokens=False).ids == ids_of(text), text


def _without(*marks: str) -> list[str]:
    return [text for text in TEXTS if not any(mark in text for mark in marks)]


# tiktoken --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file", "pattern", "special"),
    [
        (
            "TikTokenTokenizer",
            "tiktoken.model",
            KIMI,
            lambda first: {
                "<tool>" if place == 2 else f"<|reserved_token_{first + place}|>": first + place
                for place in range(256)
            },
        ),
        (
            "QWenTokenizer",
            "qwen.tiktoken",
            QWEN2,
            lambda first: {"<|endoftext|>": first, "<|im_end|>": first + 2, "<tool>": first + 3},
        ),
        ("ChatGLM4Tokenizer", "tokenizer.model", CL100K, lambda first: {"<tool>": first + 4}),
    ],
)
def test_ranks_give_the_ids_of_tiktoken(
    tmp_path: Path, name: str, file: str, pattern: str, special: Callable[[int], dict[str, int]]
) -> None:
    """Kimi, Qwen and GLM-4: each cuts texts by its own pattern, and knows its special tokens."""
    ranks = _ranks()
    _write_ranks(tmp_path / file, ranks)
    tokens = special(len(ranks))
    listed = {str(tokens["<tool>"]): {"content": "<tool>", "special": True}}
    _configure(tmp_path, tokenizer_class=name, added_tokens_decoder=listed)
    original = tiktoken.Encoding(
        name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=tokens
    )

    def ids_of(text: str) -> list[int]:
        text = unicodedata.normalize("NFC", text) if name == "QWenTokenizer" else text
        return original.encode(text, allowed_special="all")

    tokenizer = load(tmp_path)
    _same(tokenizer, ids_of, TEXTS)
    for text in _without("<tool>"):
        ids = original.encode(text, disallowed_special=())
        assert tokenizer.decode(ids) == original.decode(ids)
    for text, id in tokens.items():
        assert tokenizer.token_to_id(text) == id
        assert tokenizer.encode(f"a{text}b", add_special_tokens=False).ids[1] == id


def test_tekken(tmp_path: Path) -> None:
    """Mistral's file: special tokens come first, and the vocabulary is cut to the model's."""
    ranks = {token: rank for token, rank in _ranks().items() if rank < 500}
    words = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for token, rank in _ranks().items()
    ]
    special = [{"rank": 0, "token_str": "<unk>", "is_control": True}]
    special += [{"rank": 1, "token_str": "<s>", "is_control": True}]
    special += [{"rank": 2, "token_str": "<tool>", "is_control": False}]
    config = {"pattern": TEKKEN, "default_vocab_size": 520, "default_num_special_tokens": 20}
    file = {"config": config, "vocab": words, "special_tokens": special}
    (tmp_path / "tekken.json").write_text(json.dumps(file))
    tokenizer = load(tmp_path)
    original = tiktoken.Encoding("t", pat_str=TEKKEN, mergeable_ranks=ranks, special_tokens={})

    def ids_of(text: str) -> list[int]:
        return [id + 20 for id in original.encode(text)]

    _same(tokenizer, ids_of, _without("<tool>", "<s>"))
    assert tokenizer.get_vocab_size() == 520
    assert tokenizer.encode("<tool><SPECIAL_19>").ids == [1, 2, 19]
    assert tokenizer.decode([1, 2, 19]) == "<tool>"


@pytest.mark.slow
@pytest.mark.parametrize("file", ["tekken_240718.json", "tekken_240911.json"])
def test_mistrals_own_tekken(tmp_path: Path, file: str) -> None:
    """Of Nemo and of Pixtral; tiktoken is what mistral-common gives their ranks to."""
    path = unpacked("mistral_common", "1.13.1") / "mistral_common/data" / file
    content = json.loads(path.read_bytes())
    (tmp_path / "tekken.json").symlink_to(path)
    first = content["config"]["default_num_special_tokens"]
    size = content["config"]["default_vocab_size"] - first
    words = content["vocab"][:size]
    ranks = {base64.b64decode(word["token_bytes"]): word["rank"] for word in words}
    original = tiktoken.Encoding(
        "t", pat_str=content["config"]["pattern"], mergeable_ranks=ranks, special_tokens={}
    )
    tokenizer = load(tmp_path)
    _same(
        tokenizer,
        lambda text: [id + first for id in original.encode(text)],
        _without("</s>"),
    )
    tokens = ("<s>", "</s>", "[INST]", "[/INST]")
    assert [tokenizer.token_to_id(token) for token in tokens] == [1, 2, 3, 4]


# SentencePiece -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        "tokenizer.model.v1",
        "mistral_instruct_tokenizer_240216.model.v2",
        "mistral_instruct_tokenizer_240323.model.v3",
        "mistral_instruct_tokenizer_241114.model.v7",
    ],
)
def test_mistrals_own_sentencepiece_models(tmp_path: Path, file: str) -> None:
    """Of 32,000 pieces and more, as the models of Llama 2 are."""
    path = unpacked("mistral_common", "1.13.1") / "mistral_common/data" / file
    (tmp_path / "tokenizer.model").symlink_to(path)
    original = sentencepiece.SentencePieceProcessor(model_file=str(path))
    _same(load(tmp_path), original.encode, _without("</s>", "[INST]"))


@pytest.mark.parametrize(
    "name",
    [
        *("InternLM2Tokenizer", "BaichuanTokenizer", "PlamoTokenizer", "Ernie4_5_Tokenizer"),
        *("LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", None),
    ],
)
def test_a_model_beside_code_is_read_as_that_code_does(tmp_path: Path, name: str | None) -> None:
    """Texts begin with a space, also behind a special token, and listed tokens have their ids."""
    content = train(**LLAMA)
    (tmp_path / "tokenizer.model").write_bytes(content)
    original = sentencepiece.SentencePieceProcessor(model_proto=content)
    last = original.vocab_size() - 1
    listed = {str(last): {"content": "<|im_start|>", "special": True}}
    _configure(tmp_path, tokenizer_class=name, added_tokens_decoder=listed)
    tokenizer = load(tmp_path)
    assert tokenizer.encode("The quick", add_special_tokens=False).tokens == ["▁The", "▁quick"]
    # The piece that was there before was never drawn for a model.
    texts = [text for text in _without("</s>") if last not in original.encode(text)]
    _same(tokenizer, original.encode, texts)
    marked = tokenizer.encode("<|im_start|>The quick</s>The", add_special_tokens=False)
    quick = [*original.encode("The quick"), original.eos_id(), *original.encode("The")]
    assert marked.ids == [last, *quick]
    assert tokenizer.get_vocab_size() == original.vocab_size()


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"tokenizer_class": "LlamaTokenizer"}, ["<s>", "▁The"]),
        ({"tokenizer_class": "LlamaTokenizer", "add_bos_token": False}, ["▁The"]),
        ({"tokenizer_class": "LlamaTokenizer", "add_eos_token": True}, ["<s>", "▁The", "</s>"]),
        ({"tokenizer_class": "BaichuanTokenizer"}, ["▁The"]),
        ({"tokenizer_class": "BaichuanTokenizer", "add_bos_token": True}, ["<s>", "▁The"]),
        ({}, ["▁The"]),
    ],
)
def test_how_a_text_begins_and_ends(
    tmp_path: Path, config: dict[str, Any], tokens: list[str]
) -> None:
    """As the configuration says, else as the class does."""
    (tmp_path / "tokenizer.model").write_bytes(train(**LLAMA))
    _configure(tmp_path, **config)
    assert load(tmp_path).encode("The").tokens == tokens


@pytest.mark.parametrize("config", [{}, {"add_prefix_space": False}])
def test_llamas_newer_way_is_that_of_transformers(tmp_path: Path, config: dict[str, Any]) -> None:
    """Only the whole text gets a space before it, and only if it begins with none."""
    (tmp_path / "tokenizer.model").write_bytes(train(**LLAMA))
    _configure(tmp_path, tokenizer_class="LlamaTokenizer", legacy=False, **config)
    oracle = AutoTokenizer.from_pretrained(tmp_path)
    _same(load(tmp_path), lambda text: oracle.encode(text, add_special_tokens=False), TEXTS)


def test_llamas_older_way(tmp_path: Path) -> None:
    """It puts a space behind a special token, and the newer one does not."""
    (tmp_path / "tokenizer.model").write_bytes(train(**LLAMA))
    _configure(tmp_path, tokenizer_class="LlamaTokenizer", legacy=False)
    assert load(tmp_path).encode("The<s>The").tokens == ["<s>", "▁The", "<s>", "The"]
    _configure(tmp_path, tokenizer_class="LlamaTokenizer", legacy=True)
    assert load(tmp_path).encode("The<s>The").tokens == ["<s>", "▁The", "<s>", "▁The"]


def test_xlm_roberta_counts_as_fairseq(tmp_path: Path) -> None:
    """Its ids are the library's and one, for <pad> is put between the first."""
    content = train(model_type="unigram")
    (tmp_path / "sentencepiece.bpe.model").write_bytes(content)
    _configure(tmp_path, tokenizer_class="XLMRobertaTokenizer")
    original = sentencepiece.SentencePieceProcessor(model_proto=content)
    tokenizer = load(tmp_path)
    for text in ("The quick brown fox", "日本語のテキスト, naïve café", "  a  b "):
        ids = [id + 1 if id else 3 for id in original.encode(text)]
        assert tokenizer.encode(text).ids == [0, *ids, 2]
    assert tokenizer.token_to_id("<mask>") == original.vocab_size() + 1


# vocab.json and vocab.txt --------------------------------------------------------------------


def _write_word_pairs(folder: Path, *special: str) -> None:
    content = json.loads(_learnt_bpe().to_str())["model"]
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
    _configure(tmp_path, tokenizer_class=original.__name__, **config)
    oracle, tokenizer = original.from_pretrained(tmp_path), load(tmp_path)
    _same(tokenizer, lambda text: oracle.encode(text, add_special_tokens=False), TEXTS)
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
    _configure(tmp_path, tokenizer_class="BertTokenizer", **config)
    oracle, tokenizer = BertTokenizer.from_pretrained(tmp_path), load(tmp_path)
    _same(tokenizer, lambda text: oracle.encode(text, add_special_tokens=False), TEXTS)
    pair = tokenizer.encode("The quick", "fox [MASK]")
    expected = oracle("The quick", "fox [MASK]")
    assert (pair.ids, pair.type_ids) == (expected["input_ids"], expected["token_type_ids"])


# Any of them -----------------------------------------------------------------------------------


def test_it_is_written_once_and_the_same(tmp_path: Path) -> None:
    """An import leaves tokenizer.json, so that no later load makes it again."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    _write_ranks(source / "tiktoken.model", _ranks())
    _configure(source, tokenizer_class="TikTokenTokenizer")
    write(source, target)
    made, written = load(source), load(target)
    _same(written, lambda text: made.encode(text, add_special_tokens=False).ids, TEXTS)
    assert (source / "tokenizer.json").exists() is False
    (source / "tokenizer.json").write_text("{}")  # who has one is left alone
    (target / "tokenizer.json").unlink()
    write(source, target)
    assert not (target / "tokenizer.json").exists()


@pytest.mark.parametrize("file", ["tokenizer.model", "x.tiktoken", "vocab.json", "vocab.txt"])
def test_what_no_file_says_is_refused(tmp_path: Path, file: str) -> None:
    """A class that is not known may cut texts in any way."""
    (tmp_path / file).write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    _configure(tmp_path, tokenizer_class="NovelTokenizerFast")
    with pytest.raises(NotAModel, match=f"{file} does not say .*'NovelTokenizer' is none of"):
        load(tmp_path)


_LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("LlamaTokenizer", {"tokenizer.model": _LFS}, "tokenizer.model is a Git LFS pointer"),
        ("LlamaTokenizer", {"tokenizer.model": "x"}, "is no SentencePiece model"),
        ("QWenTokenizer", {"qwen.tiktoken": "AA== 0\n?? 1\n"}, "damaged: line 2 is not a token"),
        ("QWenTokenizer", {"qwen.tiktoken": "AA== 0\nAQ== 2\n"}, "line 2 does not have the next"),
        ("QWenTokenizer", {"qwen.tiktoken": "AA== 0\n"}, "not every byte is a token"),
        ("ChatGLM4Tokenizer", {"tokenizer.model": None}, "has no special tokens"),
        ("X", {"tekken.json": "{}"}, "tekken.json cannot be used: Object missing required field"),
        ("X", {"tekken.json": "["}, "tekken.json cannot be used"),
        ("GPT2Tokenizer", {"vocab.json": "[]", "merges.txt": ""}, "make no tokenizer"),
        ("GPT2Tokenizer", {"vocab.json": "{}", "merges.txt": "a b"}, "make no tokenizer"),
        ("GPT2Tokenizer", {"vocab.json": "{}"}, "The model has no tokenizer: tokenizer.json, "),
        ("BertTokenizer", {"vocab.txt": "a\nb\n"}, "The vocabulary has no .CLS., which every"),
    ],
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, name: str, files: dict[str, str | None], message: str
) -> None:
    """In one sentence that names it."""
    for file, content in files.items():
        if content is None:
            _write_ranks(tmp_path / file, _ranks())
        else:
            (tmp_path / file).write_text(content)
    _configure(tmp_path, tokenizer_class=name)
    with pytest.raises(NotAModel, match=message):
        load(tmp_path)
