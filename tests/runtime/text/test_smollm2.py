"""Tests of runtime.text with a real model: token ids and prompts as its makers meant them."""

from pathlib import Path

import pytest

from registry.store.store import Store
from runtime.text.template import template_of
from runtime.text.tokenizer import ModelTokenizer
from tests.models import smollm2
from tests.models.reference_bpe import ReferenceBpe

pytestmark = pytest.mark.slow

TEXTS = (
    smollm2.PASSAGE,
    "Grüße aus Köln: naïve café, русский текст, 日本語, 한국어, 🙂👩‍👩‍👧 e\u0301",
    "  leading, trailing  \n\n\n\ttabs\t\t and\u00a0no-break \r\n",
    "1234567890 3.14 1,000,000 x2 ²³ ½ 12:30",
    "I'll we've they'D can't 'quoted' it's",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|> <|im_start|",
    "",
)


@pytest.fixture(scope="module")
def folder(smollm2_home: Path) -> Path:
    return Store(smollm2_home).get(smollm2.MODEL_ID).folder


def test_token_ids(folder: Path) -> None:
    """Those of a BPE in plain Python over the file's own vocabulary and merges."""
    tokenizer, reference = ModelTokenizer(folder), ReferenceBpe(smollm2.gguf())
    for text in TEXTS:
        assert tokenizer.prompt(text) == reference.ids(text), text[:40]


def test_prompts(folder: Path) -> None:
    """The template names the model, unless another system message is there."""
    template = template_of(folder)
    hello = {"role": "user", "content": "Hello  "}
    default = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n"
    )
    asked = "<|im_start|>user\nHello  <|im_end|>\n<|im_start|>assistant\n"
    assert template.render([hello], {}) == default + asked
    system = {"role": "system", "content": "Be brief."}
    own = "<|im_start|>system\nBe brief.<|im_end|>\n"
    assert template.render([system, hello], {}) == own + asked
    answer = {"role": "assistant", "content": "Hi."}
    told = "<|im_start|>user\nHello  <|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>\n"
    assert template.render([hello, answer, hello], {}) == default + told + asked
    ids = ModelTokenizer(folder).prompt(template.render([system, hello], {}))
    assert (ids[0], ids.count(1), ids.count(2)) == (1, 3, 2)
