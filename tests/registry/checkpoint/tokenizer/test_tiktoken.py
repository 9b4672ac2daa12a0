"""Tests of checkpoint.tokenizer.tiktoken and tekken: the ids of the tiktoken library."""

import base64
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import tiktoken

from registry.checkpoint.tokenizer.load import load
from registry.checkpoint.tokenizer.patterns import CL100K, KIMI, QWEN2, TEKKEN
from tests.models.texts import TEXTS
from tests.models.vocabularies import (
    check_same,
    configure,
    learnt_ranks,
    texts_without,
    write_ranks,
)
from tests.packages import unpacked


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
        (
            "HYTokenizer",
            "hy.tiktoken",
            QWEN2,
            lambda first: {"<|startoftext|>": first + 1, "<|eos|>": first + 3, "<tool>": first + 5},
        ),
        # Llama 3's, as Meta has it: no class of its own.
        (None, "tokenizer.model", CL100K, lambda first: {"<tool>": first + 7}),
        ("ChatGLM4Tokenizer", "tokenizer.model", CL100K, lambda first: {"<tool>": first + 4}),
    ],
)
def test_ranks_give_the_ids_of_tiktoken(
    tmp_path: Path,
    name: str | None,
    file: str,
    pattern: str,
    special: Callable[[int], dict[str, int]],
) -> None:
    """Each cuts texts by its own pattern, and knows its special tokens."""
    ranks = learnt_ranks()
    write_ranks(tmp_path / file, ranks)
    tokens = special(len(ranks))
    listed = {str(tokens["<tool>"]): {"content": "<tool>", "special": True}}
    configure(tmp_path, tokenizer_class=name, added_tokens_decoder=listed)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    original = tiktoken.Encoding(
        str(name), pat_str=pattern, mergeable_ranks=ranks, special_tokens=tokens
    )

    def ids_of(text: str) -> list[int]:
        is_nfc = name in ("QWenTokenizer", "HYTokenizer")
        normal = unicodedata.normalize("NFC", text) if is_nfc else text
        return original.encode(normal, allowed_special="all")

    tokenizer = load(tmp_path)
    check_same(tokenizer, ids_of, TEXTS)
    for text in texts_without("<tool>"):
        ids = original.encode(text, disallowed_special=())
        assert tokenizer.decode(ids) == original.decode(ids)
    for text, id in tokens.items():
        assert tokenizer.token_to_id(text) == id
        assert tokenizer.encode(f"a{text}b", add_special_tokens=False).ids[1] == id


def test_tekken(tmp_path: Path) -> None:
    """Mistral's file: special tokens come first, and the vocabulary is cut to the model's."""
    ranks = {token: rank for token, rank in learnt_ranks().items() if rank < 500}
    words = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for token, rank in learnt_ranks().items()
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

    check_same(tokenizer, ids_of, texts_without("<tool>", "<s>"))
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
    check_same(
        tokenizer,
        lambda text: [id + first for id in original.encode(text)],
        texts_without("</s>"),
    )
    tokens = ("<s>", "</s>", "[INST]", "[/INST]")
    assert [tokenizer.token_to_id(token) for token in tokens] == [1, 2, 3, 4]
