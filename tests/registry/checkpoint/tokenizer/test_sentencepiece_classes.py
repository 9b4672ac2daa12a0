"""Tests of checkpoint.tokenizer.sentencepiece_classes: folders with a SentencePiece model."""

from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from transformers import (
    AutoTokenizer,
)

from registry.checkpoint.tokenizer.load import load
from registry.checkpoint.weights import read_header
from tests.models.sentencepieces import LLAMA, train
from tests.models.texts import TEXTS
from tests.models.vocabularies import (
    check_same,
    configure,
    texts_without,
)
from tests.packages import unpacked


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
    check_same(load(tmp_path), original.encode, texts_without("</s>", "[INST]"))


def _model_file(metadata: dict[str, Any], *, is_xlm_roberta: bool) -> bytes:
    """A tokenizer.model of a real vocabulary, as a GGUF copied it."""
    message: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    tokens, scores, kinds = (metadata[key] for key in ("tokens", "scores", "token_type"))
    pieces = list(zip(tokens, scores, kinds, strict=True))
    if is_xlm_roberta:  # which has put four tokens of its own before
        pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), *pieces[4:250_001]]
        message.normalizer_spec.name = "nmt_nfkc"
        charsmap = bytes(byte & 0xFF for byte in metadata["precompiled_charsmap"])
        message.normalizer_spec.precompiled_charsmap = charsmap
    message.trainer_spec.model_type = 1 if is_xlm_roberta else 2
    message.trainer_spec.byte_fallback = not is_xlm_roberta
    message.normalizer_spec.remove_extra_whitespaces = is_xlm_roberta
    for text, score, kind in pieces:
        piece = message.pieces.add()
        piece.piece, piece.score, piece.type = text, score, kind
    content: bytes = message.SerializeToString()
    return content


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vocabulary", "name"),
    [
        ("baichuan", "BaichuanTokenizer"),
        ("llama-spm", "LlamaTokenizer"),
        ("nomic-bert-moe", "XLMRobertaTokenizer"),
    ],
)
def test_real_vocabularies_of_sentencepiece(tmp_path: Path, vocabulary: str, name: str) -> None:
    """32,000 pieces of Llama 2, 64,000 of Baichuan, and XLM-R's 250,000 with their likelihood."""
    folder = unpacked("llama-cpp-python", "0.3.36", is_source=True)
    (path,) = folder.glob(f"*/vendor/llama.cpp/models/ggml-vocab-{vocabulary}.gguf")
    metadata = read_header(path, with_arrays=True).metadata
    is_xlm_roberta = name.startswith("XLM")
    content = _model_file(
        {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()},
        is_xlm_roberta=is_xlm_roberta,
    )
    (tmp_path / "tokenizer.model").write_bytes(content)
    configure(tmp_path, tokenizer_class=name)
    original = sentencepiece.SentencePieceProcessor(model_proto=content)

    def ids_of(text: str) -> list[int]:
        ids = original.encode(text)
        return [id + 1 if id else 3 for id in ids] if is_xlm_roberta else ids

    # The library leaves a mark apart where a control character between it and its letter goes away.
    check_same(load(tmp_path), ids_of, texts_without("<s>", "</s>", "\u0007\u0301"))


def test_the_piece_for_the_unknown_may_be_called_otherwise(tmp_path: Path) -> None:
    """As any other for which the files list a text."""
    (tmp_path / "tokenizer.model").write_bytes(train(**LLAMA | {"byte_fallback": False}))
    configure(tmp_path, added_tokens_decoder={"0": {"content": "[UNK]", "special": True}})
    assert load(tmp_path).encode("The \u4e02").tokens == ["▁The", "▁", "[UNK]"]


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
    configure(tmp_path, tokenizer_class=name, added_tokens_decoder=listed)
    tokenizer = load(tmp_path)
    assert tokenizer.encode("The quick", add_special_tokens=False).tokens == ["▁The", "▁quick"]
    # The piece that was there before was never drawn for a model.
    texts = [text for text in texts_without("</s>") if last not in original.encode(text)]
    check_same(tokenizer, original.encode, texts)
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
        ({"tokenizer_class": "InternLM3Tokenizer"}, ["<s>", "▁The"]),
        ({"tokenizer_class": "BaichuanTokenizer"}, ["<s>", "▁The"]),
        ({"tokenizer_class": "Ernie4_5_Tokenizer"}, ["▁The"]),
        ({"tokenizer_class": "Ernie4_5_Tokenizer", "add_bos_token": True}, ["<s>", "▁The"]),
        ({}, ["▁The"]),
    ],
)
def test_how_a_text_begins_and_ends(
    tmp_path: Path, config: dict[str, Any], tokens: list[str]
) -> None:
    """As the configuration says, else as the class does."""
    (tmp_path / "tokenizer.model").write_bytes(train(**LLAMA))
    configure(tmp_path, **config)
    assert load(tmp_path).encode("The").tokens == tokens


@pytest.mark.parametrize("config", [{}, {"add_prefix_space": False}])
def test_llamas_newer_way_is_that_of_transformers(tmp_path: Path, config: dict[str, Any]) -> None:
    """Only the whole text gets a space before it, and only if it begins with none."""
    (tmp_path / "tokenizer.model").write_bytes(train(**LLAMA))
    configure(tmp_path, tokenizer_class="LlamaTokenizer", legacy=False, **config)
    oracle = AutoTokenizer.from_pretrained(tmp_path)
    check_same(load(tmp_path), lambda text: oracle.encode(text, add_special_tokens=False), TEXTS)


def test_llamas_older_way(tmp_path: Path) -> None:
    """It puts a space behind a special token, and the newer one does not."""
    (tmp_path / "tokenizer.model").write_bytes(train(**LLAMA))
    configure(tmp_path, tokenizer_class="LlamaTokenizer", legacy=False)
    assert load(tmp_path).encode("The<s>The").tokens == ["<s>", "▁The", "<s>", "The"]
    configure(tmp_path, tokenizer_class="LlamaTokenizer", legacy=True)
    assert load(tmp_path).encode("The<s>The").tokens == ["<s>", "▁The", "<s>", "▁The"]


def test_xlm_roberta_counts_as_fairseq(tmp_path: Path) -> None:
    """Its ids are the library's and one, for <pad> is put between the first."""
    content = train(model_type="unigram")
    (tmp_path / "sentencepiece.bpe.model").write_bytes(content)
    configure(tmp_path, tokenizer_class="XLMRobertaTokenizer")
    original = sentencepiece.SentencePieceProcessor(model_proto=content)
    tokenizer = load(tmp_path)
    for text in ("The quick brown fox", "日本語のテキスト, naïve café", "  a  b "):
        ids = [id + 1 if id else 3 for id in original.encode(text)]
        assert tokenizer.encode(text).ids == [0, *ids, 2]
    assert tokenizer.token_to_id("<mask>") == original.vocab_size() + 1
