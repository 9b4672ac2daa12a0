"""Tests of encoders.decoder: language models that embed, against figures of transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.checkpoint.encoder import EncoderConfig
from registry.checkpoint.model import Model
from registry.convert.conversion import carry_out
from registry.convert_messages import Work
from runtime.engine import device
from runtime.engine.encoders import decoder
from runtime.engine.encoders.batch import EncodeBatch
from runtime.engine.encoders.encoder import Encoder
from runtime.engine.loader import load_encoder
from runtime.engine_messages import Embed
from runtime.text.pairs import PairPrompt
from runtime.text.template import template_of
from runtime.text.tokenizer import ModelTokenizer
from tests.models import random_decoders, reference_decoders
from tests.models.reference_decoders import QUERY, RERANKERS, SENTENCE_TRANSFORMERS, Case

CASES: dict[str, list[Case]] = json.loads(reference_decoders.PINNED.read_text(encoding="utf-8"))


def load(folder: Path) -> Encoder:
    return load_encoder(Model("tiny", folder), lambda done, total: None)


def encode(encoder: Encoder, inputs: list[list[int]], dimensions: int | None = None) -> Any:
    """Their vectors, in the inputs' order."""
    batch = EncodeBatch()
    batch.add(Embed(1, inputs, dimensions=dimensions))
    rows: dict[int, bytes] = {}
    while pack := batch.next_pack(10**6):
        rows |= zip([entry.index for entry in pack], encoder.encode(pack), strict=True)
    return np.stack([np.frombuffer(rows[index], "<f4") for index in range(len(inputs))])


@pytest.mark.parametrize("model_type", random_decoders.CONFIGS)
def test_two_ways_as_transformers_does(tmp_path: Path, model_type: str) -> None:
    """EmbeddingGemma with its window, gte-Qwen2, and the other families that may say it."""
    cases = CASES[model_type]
    encoder = load(random_decoders.make(tmp_path, model_type))
    vectors = encode(encoder, [case["tokens"] for case in cases])
    np.testing.assert_allclose(vectors, [case["vector"] for case in cases], atol=1e-5)


@pytest.mark.parametrize("name", SENTENCE_TRANSFORMERS)
def test_embedders_from_text_to_vector(tmp_path: Path, name: str) -> None:
    """As sentence-transformers computes them: prompts, Dense modules, vectors that are cut."""
    folder = SENTENCE_TRANSFORMERS[name](tmp_path)
    config, tokenizer = EncoderConfig.of(Model("tiny", folder)), ModelTokenizer(folder)
    encoder = load(folder)
    for size in (None, 16):
        cases = [case for case in CASES[name] if case["dimensions"] == size]
        texts = [config.prompt(case["prompt"]) + case["text"] for case in cases]
        vectors = encode(encoder, tokenizer.texts(texts, None, None)[0], dimensions=size)
        np.testing.assert_allclose(vectors, [case["vector"] for case in cases], atol=1e-5)
    assert config.is_matryoshka == (name == "embeddinggemma")


@pytest.mark.parametrize("name", RERANKERS)
def test_rerankers_from_text_to_score(tmp_path: Path, name: str) -> None:
    """As the card of Qwen3-Reranker does it: its prompt, its cut, its softmax of yes and no."""
    source = random_decoders.make_qwen3_reranker(tmp_path / "source", RERANKERS[name])
    folder = tmp_path / "taken"
    carry_out(source, Work(str(source), str(folder), task="rerank"), lambda *_: None)
    template, tokenizer = template_of(folder), ModelTokenizer(folder)
    for case in CASES[name]:
        prompt = PairPrompt(template, tokenizer, QUERY, case["instruction"])
        assert prompt.tokens([case["document"]], case["max_length"]) == [case["tokens"]]
    scores = encode(load(folder), [case["tokens"] for case in CASES[name]])
    np.testing.assert_allclose(scores, [case["vector"] for case in CASES[name]], atol=1e-5)


@pytest.mark.parametrize("model_type", ["gemma3_text", "qwen2"])
def test_padding_is_never_seen(tmp_path: Path, model_type: str) -> None:
    """Short texts beside long ones in one pass, padded by more than a window."""
    encoder = load(random_decoders.make(tmp_path, model_type, "pooling_mode_lasttoken"))
    inputs = [case["tokens"] for case in CASES[model_type]]
    alone = np.concatenate([encode(encoder, [tokens]) for tokens in inputs])
    pack = EncodeBatch()
    pack.add(Embed(1, inputs))
    together = []
    while more := pack.next_pack(10**6):
        together += more
    rows = dict(zip((entry.index for entry in together), encoder.encode(together), strict=True))
    for index, row in rows.items():
        np.testing.assert_allclose(np.frombuffer(row, "<f4"), alone[index], atol=1e-5)


@pytest.mark.parametrize("model_type", ["gemma3_text", "llama", "qwen2"])
def test_a_long_text_is_the_same_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str
) -> None:
    """Some queries after the other, each seeing every key; lengths that fill no chunk."""
    encoder = load(random_decoders.make(tmp_path, model_type))
    inputs = [case["tokens"] for case in CASES[model_type]]
    whole = encode(encoder, inputs)
    monkeypatch.setattr(decoder, "_QUERY_CHUNK", 16)
    np.testing.assert_allclose(encode(encoder, inputs), whole, atol=1e-5)


def test_a_gpu_computes_in_the_dtype_that_config_json_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GGUF's Q4_K has scales in float32, which would make all that follows float32."""
    monkeypatch.setattr(device, "is_gpu", lambda: True)
    whole = load(random_decoders.make(tmp_path / "float32", "qwen3")).info.weight_bytes
    folder = random_decoders.make(tmp_path / "declared", "qwen3", compute_dtype="float16")
    assert load(folder).info.weight_bytes == whole // 2
