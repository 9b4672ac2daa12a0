"""Tests of registry.checkpoint.tokenizer.load: the tokens that transformers' AutoTokenizer sees."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer

from registry.checkpoint.tokenizer.load import load
from registry.errors import NotAModel
from tests.models.tiny_models import make_tokenizer

_FIRST = 453  # behind the vocabulary of the tiny tokenizer
_MARKS = [f"<|mark{number}|>" for number in range(6)]


def _added(*, special: bool, **flags: bool) -> dict[str, dict[str, Any]]:
    return {
        str(_FIRST + place): {"content": mark, "special": special} | flags
        for place, mark in enumerate(_MARKS)
    }


_ONLY_THERE: dict[str, dict[str, Any]] = {
    "added_tokens_decoder": {
        "tokenizer_config.json": {"added_tokens_decoder": _added(special=True, normalized=False)}
    },
    "added_tokens_decoder, stripping": {
        "tokenizer_config.json": {
            "added_tokens_decoder": _added(special=False, lstrip=True, rstrip=True)
        }
    },
    "added_tokens_decoder, whole words": {
        "tokenizer_config.json": {"added_tokens_decoder": _added(special=False, single_word=True)}
    },
    "added_tokens.json": {
        "added_tokens.json": {mark: _FIRST + place for place, mark in enumerate(_MARKS)}
    },
    "added_tokens.json, not in order, some special": {
        "added_tokens.json": {mark: _FIRST + 5 - place for place, mark in enumerate(_MARKS)},
        "tokenizer_config.json": {"additional_special_tokens": _MARKS[:3]},
    },
    "additional_special_tokens": {
        "tokenizer_config.json": {"additional_special_tokens": _MARKS[::-1]}
    },
    "additional_special_tokens as objects": {
        "tokenizer_config.json": {
            "additional_special_tokens": [
                {"__type": "AddedToken", "content": mark, "lstrip": True, "normalized": False}
                for mark in _MARKS
            ]
        }
    },
    "additional_special_tokens of the older file": {
        "special_tokens_map.json": {"additional_special_tokens": _MARKS}
    },
    "extra_special_tokens": {"tokenizer_config.json": {"extra_special_tokens": _MARKS}},
    "extra_special_tokens with roles": {
        "tokenizer_config.json": {
            "extra_special_tokens": {f"{mark[2:-2]}_token": mark for mark in _MARKS},
            "image_token": "<|image|>",
        }
    },
    "special_tokens_map.json": {
        "special_tokens_map.json": {
            "bos_token": {"content": _MARKS[0], "lstrip": False, "rstrip": True},
            "unk_token": _MARKS[1],
            "sep_token": _MARKS[2],
            "audio_token": _MARKS[3],
        }
    },
    "all of them": {
        "tokenizer_config.json": {"cls_token": _MARKS[0], "additional_special_tokens": _MARKS[:2]},
        "special_tokens_map.json": {"bos_token": _MARKS[2], "cls_token": _MARKS[3]},
        "added_tokens.json": {_MARKS[4]: _FIRST},
    },
}


def _write(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    make_tokenizer(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    for name, content in files.items():
        old = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(old | content))


def _texts(count: int) -> list[str]:
    draw = random.Random(7)
    pieces = [*_MARKS, "<|im_end|>", "<|image|>", "The quick", " brown", "fox", "\n", " ", "  "]
    pieces += ["Grüße", "日本語", "🙂", "<|mark", "|>", "a.b", "{", "\t", "1234", "\u2028"]
    return ["".join(draw.choices(pieces, k=draw.randint(1, 16))) for _ in range(count)]


@pytest.mark.parametrize("kind", _ONLY_THERE)
def test_tokens_that_tokenizer_json_does_not_list(tmp_path: Path, kind: str) -> None:
    """Ids, flags and both directions equal AutoTokenizer's, wherever the tokens are told of."""
    _write(tmp_path, _ONLY_THERE[kind])
    oracle, tokenizer = AutoTokenizer.from_pretrained(tmp_path), load(tmp_path)
    expected = oracle.backend_tokenizer.get_added_tokens_decoder()
    added = tokenizer.get_added_tokens_decoder()
    assert {id: repr(token) for id, token in added.items()} == {
        id: repr(token) for id, token in expected.items()
    }
    for text in _texts(200):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert ids == oracle.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == oracle.decode(ids, skip_special_tokens=True)
    assert len(tokenizer.encode("".join(_MARKS[:1]), add_special_tokens=False).ids) == 1


def test_a_token_gets_the_id_that_is_listed_with_it(tmp_path: Path) -> None:
    """Also behind a gap, where transformers gives another: its embedding is that token's."""
    listed = {"470": {"content": "<|far|>", "special": True}, "453": {"content": "<|near|>"}}
    _write(tmp_path, {"tokenizer_config.json": {"added_tokens_decoder": listed}})
    tokenizer = load(tmp_path)
    assert tokenizer.encode("<|near|>x<|far|>").ids[::2] == [453, 470]
    assert tokenizer.decode([453, 470]) == "<|near|>"


def test_bytes_decide_and_not_the_decoder_that_is_named(tmp_path: Path) -> None:
    """A vocabulary of bytes with SentencePiece's decoder reads back as text (mlx-lm #1041)."""
    make_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    broken = Tokenizer.from_file(str(path))
    broken.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    broken.save(str(path))
    tokenizer = load(tmp_path)
    text = "I see it\n\ndef f():\n    return 'é日'"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ('{"version": "1.0"}', "tokenizer.json cannot be read"),
        ("", "tokenizer.json cannot be read"),
        (None, "has no tokenizer"),
    ],
)
def test_what_is_no_tokenizer(tmp_path: Path, content: str | None, message: str) -> None:
    """It is said in one sentence what is wrong with the file."""
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises((ValueError, NotAModel), match=message):
        load(tmp_path)


def test_a_special_token_that_is_no_text(tmp_path: Path) -> None:
    """Strangers wrote these files."""
    _write(tmp_path, {"tokenizer_config.json": {"bos_token": {"text": "<s>"}}})
    with pytest.raises(NotAModel, match="special token should be text"):
        load(tmp_path)


@pytest.mark.parametrize("id", ["-4", "2147483648", "9" * 5000, "x", "", "1.5"])
def test_a_special_token_whose_id_is_none(tmp_path: Path, id: str) -> None:
    """Below 0, beyond what any embedding has, or no number."""
    _write(tmp_path, {"tokenizer_config.json": {"added_tokens_decoder": {id: {"content": "<a>"}}}})
    with pytest.raises(NotAModel, match="^A special token should have an id, but '.{0,80} was"):
        load(tmp_path)


def test_a_negative_id_in_the_older_file(tmp_path: Path) -> None:
    """There the ids are numbers."""
    _write(tmp_path, {"added_tokens.json": {"<a>": -1}})
    with pytest.raises(NotAModel, match="^A special token should have an id, but -1 was"):
        load(tmp_path)


def test_an_id_far_behind_a_vocabulary_that_is_a_list(tmp_path: Path) -> None:
    """In Unigram the place is the id: a gap of 900 million would fill all memory."""
    _write(tmp_path, {})
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    unigram.save(str(tmp_path / "tokenizer.json"))
    for id, is_far in ((40, False), (100_001, False), (100_002, True), (900_000_000, True)):
        listed = {"added_tokens_decoder": {str(id): {"content": "<far>"}}}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(listed))
        if not is_far:
            assert load(tmp_path).encode("a<far>").ids == [1, id]
            continue
        with pytest.raises(NotAModel, match=f"^The token '<far>' should have the id {id}, far"):
            load(tmp_path)
