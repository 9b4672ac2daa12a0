"""Tests of convert.gguf.encoder and wordpiece: an embedding model as GGUF and back is the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType, PoolingType
from gguf.quants import dequantize, quantize
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from registry.checkpoint.model import Model
from registry.checkpoint.verify import Verified
from registry.convert import __main__ as convert
from registry.convert.conversion import carry_out
from registry.convert.gguf.tokenizer import write_tokenizer
from registry.convert_messages import Work
from registry.errors import ConversionFailed, NotAModel
from runtime.engine.encoders.batch import EncodeBatch
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed
from runtime.text.tokenizer import ModelTokenizer
from tests.models.gguf_encoders import (
    wordpiece_metadata,
    write_encoder_gguf,
    xlm_roberta_metadata,
)
from tests.models.sentencepieces import train
from tests.models.tiny_encoders import MINILM, make_bert, make_nomic_bert, make_wordpiece

TEXTS = [
    "",
    "The quick brown fox, jumping!",
    "GRÜSSE aus Köln; naïve café, e\u0301",
    "unaffable embeddings electroencephalographically",
    "日本語 русский текст 🙂 \u200b zero\ufeffwidth \t\n two  spaces",
    "[CLS] and [MASK] and [unused5] and [ brackets ]",
    "##ing \u2581word a.b,c 3.14159 don't",
    "x" * 150,
]
MAKERS = [make_bert, make_nomic_bert]
Make = Callable[[Path], Path]


def run(source: Path, target: Path, **recipe: Any) -> Verified:
    work = Work(str(source), str(target), **recipe)
    return carry_out(convert.check(work), work, lambda stage, done, total: None)


def weights(folder: Path) -> dict[str, Any]:
    return dict(load_file(folder / "model.safetensors"))


def same_tokens(original: Path, rebuilt: Path) -> bool:
    """Ids and types of texts and pairs are the same."""
    first, second = (Tokenizer.from_file(str(f / "tokenizer.json")) for f in (original, rebuilt))
    for tokenizer in (first, second):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    for text in TEXTS:
        for pair in (None, "a second text"):
            one, two = first.encode(text, pair), second.encode(text, pair)
            assert (one.ids, one.type_ids) == (two.ids, two.type_ids), text
    return first.get_vocab() == second.get_vocab()


@pytest.mark.parametrize("make", MAKERS)
def test_float32_comes_back_exactly(tmp_path: Path, make: Make) -> None:
    """Tensors, tokens and all that the config said are the original's."""
    original = make(tmp_path / "original")
    verified = run(write_encoder_gguf(original, tmp_path / "m.gguf"), tmp_path / "converted")
    config = json.loads((original / "config.json").read_bytes())
    converted = json.loads((tmp_path / "converted/config.json").read_bytes())
    assert (verified.kind, verified.is_reranker) == ("embed", False)
    context = config.get("max_position_embeddings") or config["n_positions"]
    assert verified.context_length == context
    for key, value in config.items():
        # The file's numbers have the precision of float32.
        wanted = pytest.approx(value) if isinstance(value, float) else value
        assert converted[key] == wanted, key
    before, after = weights(original), weights(tmp_path / "converted")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert np.array_equal(value, after[name]) and value.dtype == after[name].dtype, name
    assert same_tokens(original, tmp_path / "converted")


@pytest.mark.parametrize("make", MAKERS)
def test_the_engine_makes_the_same_vectors(tmp_path: Path, make: Make) -> None:
    """What was converted is read, pooled and normalised as the original is."""
    original = make(tmp_path / "original")
    run(write_encoder_gguf(original, tmp_path / "m.gguf"), tmp_path / "converted")
    batch = EncodeBatch()
    batch.add(Embed(1, [[2, 50, 60, 70, 3], [2, 99, 3]]))
    pack = batch.next_pack(4096)
    first, second = (
        load_encoder(Model("m", tmp_path / name), lambda done, total: None).encode(pack)
        for name in ("original", "converted")
    )
    for one, other in zip(first, second, strict=True):
        vector = np.frombuffer(one, np.float32)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert np.allclose(vector, np.frombuffer(other, np.float32), atol=1e-6)


def test_xlm_roberta_makes_the_same_vectors(tmp_path: Path) -> None:
    """A GGUF of bge-m3 or multilingual E5: a bert whose positions begin at the third row, with a
    SentencePiece model."""
    original, bert = tmp_path / "original", tmp_path / "bert"
    tokens = 700
    make_bert(bert, type_vocab_size=1, layer_norm_eps=1e-5)
    weights = load_file(bert / "model.safetensors")
    draw = np.random.default_rng(1)
    words = draw.normal(0, 0.3, (tokens, 32)).astype(np.float32)
    weights["embeddings.word_embeddings.weight"] = words
    save_file(weights, bert / "model.safetensors")
    shutil.copytree(bert, original)
    positions = weights["embeddings.position_embeddings.weight"]
    weights["embeddings.position_embeddings.weight"] = np.concatenate([positions[:2], positions])
    save_file(weights, original / "model.safetensors")
    config = json.loads((bert / "config.json").read_bytes()) | {
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaModel"],
        "vocab_size": tokens,
        "pad_token_id": 1,
        "max_position_embeddings": 130,
    }
    (original / "config.json").write_text(json.dumps(config))
    (original / "tokenizer.json").unlink()
    (original / "sentencepiece.bpe.model").write_bytes(train(model_type="unigram"))
    (original / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    metadata = xlm_roberta_metadata(original / "sentencepiece.bpe.model")
    run(write_encoder_gguf(bert, tmp_path / "m.gguf", tokenizer=metadata), tmp_path / "converted")
    texts = ["The quick brown fox", "naïve café, 日本語", "  two  spaces ①"]
    rows, _ = ModelTokenizer(original).texts(texts, None, None)
    assert ModelTokenizer(tmp_path / "converted").texts(texts, None, None)[0] == rows
    batch = EncodeBatch()
    batch.add(Embed(1, rows))
    pack = batch.next_pack(4096)
    first, second = (
        load_encoder(Model("m", tmp_path / name), lambda done, total: None).encode(pack)
        for name in ("original", "converted")
    )
    for one, other in zip(first, second, strict=True):
        vector = np.frombuffer(one, np.float32)
        assert np.allclose(vector, np.frombuffer(other, np.float32), atol=1e-6)


@pytest.mark.parametrize("make", MAKERS)
def test_quantised_weights_are_what_the_file_says(tmp_path: Path, make: Make) -> None:
    """Packed matrices become half precision, or what is asked for; bits are refused."""
    original = make(tmp_path / "original")
    source = write_encoder_gguf(original, tmp_path / "m.gguf", "Q8_0")
    run(source, tmp_path / "half")
    assert {value.dtype for value in weights(tmp_path / "half").values()} == {np.dtype("float16")}
    run(source, tmp_path / "converted", dtype="float32")
    kind = GGMLQuantizationType.Q8_0
    for name, value in weights(original).items():
        plain = dequantize(quantize(value, kind), kind) if value.ndim > 1 else value
        assert np.array_equal(weights(tmp_path / "converted")[name], plain), name
    with pytest.raises(ConversionFailed, match="leave out bits"):
        run(source, tmp_path / "packed", bits=4)


def test_a_fused_projection_is_taken_apart(tmp_path: Path) -> None:
    """attn_qkv of a bert becomes query, key and value."""
    original = make_bert(tmp_path / "original")
    fused = tmp_path / "fused"
    make_bert(fused)
    found = weights(original)
    for number in range(2):
        stem = f"encoder.layer.{number}.attention.self"
        for part in ("weight", "bias"):
            rows = [found.pop(f"{stem}.{name}.{part}") for name in ("query", "key", "value")]
            found[f"encoder.layers.{number}.attn.Wqkv.{part}"] = np.concatenate(rows)
    save_file(found, fused / "model.safetensors")
    run(write_encoder_gguf(fused, tmp_path / "m.gguf"), tmp_path / "converted")
    before, after = weights(original), weights(tmp_path / "converted")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        (PoolingType.MEAN, "pooling_mode_mean_tokens"),
        (PoolingType.CLS, "pooling_mode_cls_token"),
        (PoolingType.LAST, "pooling_mode_lasttoken"),
    ],
)
def test_pooling_is_kept(tmp_path: Path, kind: PoolingType, mode: str) -> None:
    """pooling_type becomes the files of sentence-transformers; vectors are normalised."""
    source = write_encoder_gguf(make_bert(tmp_path / "o"), tmp_path / "m.gguf", pooling=kind)
    run(source, tmp_path / "converted")
    pooling = json.loads((tmp_path / "converted/1_Pooling/config.json").read_bytes())
    assert [key for key, value in pooling.items() if value is True] == [mode]
    assert pooling["word_embedding_dimension"] == 32
    modules = json.loads((tmp_path / "converted/modules.json").read_bytes())
    assert [module["type"].rsplit(".", 1)[1] for module in modules] == [
        "Transformer", "Pooling", "Normalize",
    ]  # fmt: skip


def test_without_a_pooling_type_nothing_is_said(tmp_path: Path) -> None:
    """What a file does not say, the folder does not say either."""
    source = write_encoder_gguf(make_bert(tmp_path / "o"), tmp_path / "m.gguf", pooling=None)
    assert run(source, tmp_path / "converted").kind == "embed"
    assert not (tmp_path / "converted/modules.json").exists()


@pytest.mark.parametrize(
    ("pooling", "extra", "error"),
    [
        (PoolingType.RANK, {}, "is a reranker"),
        (None, {"bert__pooling_type": 9}, "pools in a way"),
        (PoolingType.MEAN, {"bert__expert_count": 8}, "mixture of experts"),
        (PoolingType.MEAN, {"bert__moe_every_n_layers": 2}, "mixture of experts"),
        (PoolingType.MEAN, {"bert__attention__causal": True}, "looks back only"),
        (PoolingType.MEAN, {"bert__attention__max_alibi_bias": 8.0}, "ALiBi"),
        # RoBERTa has llama.cpp's architecture bert too.
        (PoolingType.MEAN, {"tokenizer__ggml__model": "gpt2"}, "tokens of the kind 'gpt2'"),
    ],
)
def test_what_is_not_read_is_refused(
    tmp_path: Path, pooling: PoolingType | None, extra: dict[str, Any], error: str
) -> None:
    """By name, and nothing is left."""
    source = write_encoder_gguf(
        make_bert(tmp_path / "o"), tmp_path / "m.gguf", pooling=pooling, **extra
    )
    with pytest.raises(NotAModel, match=error):
        run(source, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize(
    "architecture",
    ["jina-bert-v2", "jina-bert-v3", "nomic-bert-moe", "modern-bert", "neo-bert", "eurobert"],
)
def test_another_architecture_of_llama_cpp_is_refused(tmp_path: Path, architecture: str) -> None:
    """By name, with what to take instead."""
    source = write_encoder_gguf(
        make_bert(tmp_path / "o"), tmp_path / "m.gguf", architecture=architecture
    )
    with pytest.raises(NotAModel, match=f"architecture '{architecture}'; .*bert.* original weigh"):
        run(source, tmp_path / "converted")


def rebuilt(folder: Path, metadata: dict[str, Any]) -> Path:
    folder.mkdir()
    write_tokenizer(metadata, folder)
    return folder


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("brackets", [True, False])
def test_wordpiece_is_rebuilt(tmp_path: Path, lowercase: bool, brackets: bool) -> None:
    """From files of new and old converters, and whether its words have capitals is found out."""
    make_wordpiece(tmp_path / "original", lowercase=lowercase)
    metadata = wordpiece_metadata(tmp_path / "original", brackets=brackets)
    assert same_tokens(tmp_path / "original", rebuilt(tmp_path / "rebuilt", metadata))
    config = json.loads((tmp_path / "rebuilt/tokenizer_config.json").read_bytes())
    assert [config[f"{role}_token"] for role in ("cls", "sep", "unk", "pad")] == [
        "[CLS]", "[SEP]", "[UNK]", "[PAD]",
    ]  # fmt: skip


@pytest.mark.parametrize("brackets", [True, False])
def test_minilms_own_wordpiece_is_rebuilt(tmp_path: Path, brackets: bool) -> None:
    """All 30,522 tokens of BERT's vocabulary."""
    metadata = wordpiece_metadata(MINILM, brackets=brackets)
    assert same_tokens(MINILM, rebuilt(tmp_path / "rebuilt", metadata))


def test_a_vocabulary_without_an_end_is_refused(tmp_path: Path) -> None:
    """Every text needs [CLS] and [SEP]."""
    make_wordpiece(tmp_path / "original")
    metadata = wordpiece_metadata(tmp_path / "original")
    del metadata["tokenizer.ggml.seperator_token_id"]
    metadata["tokenizer.ggml.tokens"][3] = "[END]"
    with pytest.raises(NotAModel, match=r"no \[SEP\]"):
        rebuilt(tmp_path / "rebuilt", metadata)
