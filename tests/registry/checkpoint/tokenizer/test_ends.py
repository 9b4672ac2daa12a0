"""Tests of registry.checkpoint.tokenizer.ends: all that ends an answer, from whichever file."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlx_lm.models import muse_spark
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

from registry.checkpoint.architectures import tokenizer_defaults
from registry.checkpoint.tokenizer.ends import end_token_ids
from registry.checkpoint.tokenizer.load import load
from runtime.engine import loader
from tests.models.tiny_models import make_llama, make_tokenizer

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)


def texts_of(
    folder: Path, special: tuple[str, ...], plain: tuple[str, ...] = ()
) -> set[str | None]:
    """The ends by text, of a tokenizer with these tokens."""
    tokenizer = Tokenizer(BPE())
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in special])
    tokenizer.add_tokens([AddedToken(text, special=False) for text in plain])
    return {tokenizer.id_to_token(id) for id in end_token_ids(folder, tokenizer)}


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        ({}, {2}),  # of tokenizer_config.json
        ({"config.json": {"eos_token_id": 7}}, {2, 7}),
        ({"config.json": {"eos_token_id": [7, 8]}}, {2, 7, 8}),
        ({"generation_config.json": {"eos_token_id": 7}}, {2, 7}),
        ({"generation_config.json": {"eos_token_id": [7, 8]}}, {2, 7, 8}),
        (
            {
                "config.json": {"eos_token_id": [7, 8]},
                "generation_config.json": {"eos_token_id": 8},
            },
            {2, 7, 8},
        ),
        (
            {
                "config.json": {"eos_token_id": 5, "text_config": {"eos_token_id": 6}},
                "generation_config.json": {"eos_token_id": [7]},
                "special_tokens_map.json": {"eos_token": {"content": "<|endoftext|>"}},
            },
            {0, 2, 5, 6, 7},
        ),
        ({"config.json": {"text_config": {"eos_token_id": [1, 106]}}}, {1, 2, 106}),
        ({"config.json": {"eos_token_id": None}}, {2}),
        ({"tokenizer_config.json": {"eos_token": {"content": "<|endoftext|>"}}}, {0}),
        (
            {"tokenizer_config.json": {}, "special_tokens_map.json": {"eos_token": "<|im_end|>"}},
            {2},
        ),
        # Both of the tokenizer's files count, in whichever order and form.
        (
            {
                "tokenizer_config.json": {"eos_token": "<|im_end|>"},
                "special_tokens_map.json": {"eos_token": "<|endoftext|>"},
            },
            {0, 2},
        ),
        (
            {
                "tokenizer_config.json": {
                    "eos_token": {"content": "<|endoftext|>"},
                    "added_tokens_decoder": {"0": {"content": "<|endoftext|>", "special": True}},
                },
                "special_tokens_map.json": {"eos_token": {"content": "<|im_end|>"}},
            },
            {0, 2},
        ),
        ({"tokenizer_config.json": {"eos_token": "<|new|>"}}, {453}),
        # A base that was trained to chat: its own end everywhere, and another in the template.
        (
            {"tokenizer_config.json": {"eos_token": "<|endoftext|>", "chat_template": CHATML}},
            {0, 2},
        ),
        (
            {
                "tokenizer_config.json": {"eos_token": "<|endoftext|>"},
                "chat_template.jinja": CHATML,
            },
            {0, 2},
        ),
        (
            {
                "tokenizer_config.json": {
                    "eos_token": "<|endoftext|>",
                    "chat_template": [
                        {"name": "default", "template": "{{ messages[0].content }}"},
                        {"name": "tool_use", "template": CHATML},
                    ],
                }
            },
            {0, 2},
        ),
        # Known, but nothing that this model's turns end with.
        ({"tokenizer_config.json": {"eos_token": "<|endoftext|>"}}, {0}),
    ],
)
def test_all_sources_are_united(tmp_path: Path, files: dict[str, Any], ids: set[int]) -> None:
    """None replaces another."""
    make_tokenizer(tmp_path)
    write(tmp_path, files)
    assert end_token_ids(tmp_path, load(tmp_path)) == ids


@pytest.mark.parametrize(
    ("special", "template", "ends"),
    [
        (("<|end_of_text|>", "<|eot_id|>"), "{{ x }}<|eot_id|>", {"<|eot_id|>"}),
        (
            ("<|eom_id|>", "<|eot_id|>"),
            "{% if tools %}<|eom_id|>{% else %}<|eot_id|>{% endif %}",
            {"<|eom_id|>", "<|eot_id|>"},
        ),
        (("<start_of_turn>", "<end_of_turn>"), "<start_of_turn>x<end_of_turn>", {"<end_of_turn>"}),
        (("<|user|>", "<|end|>"), "<|user|>x<|end|>", {"<|end|>"}),
        # A channel of gpt-oss ends with <|end|>, and the answer goes on.
        (
            ("<|start|>", "<|end|>", "<|return|>", "<|call|>"),
            "<|start|>x<|end|> <|return|> <|call|>",
            {"<|return|>", "<|call|>"},
        ),
        (("<|start|>", "<|end|>", "<|return|>", "<|call|>"), "<|start|>x<|end|>", set()),
        (("<pad>", "<unk>", "<|im_start|>"), "<pad><unk><|im_start|>", set()),
        # Nobody has listed these, but their names say it; others end something else.
        (
            ("<|user_end|>", "<|assistant_start|>", "<|assistant_end|>"),
            "<|user_end|><|assistant_start|>x<|assistant_end|>",
            {"<|assistant_end|>"},
        ),
        (
            ("<|END_THINKING|>", "<|END_ACTION|>", "<|END_OF_TURN_TOKEN|>"),
            "<|END_THINKING|><|END_ACTION|>x<|END_OF_TURN_TOKEN|>",
            {"<|END_OF_TURN_TOKEN|>"},
        ),
        (("<|start|>", "<|turn-end|>"), "<|start|>", set()),
    ],
)
def test_the_templates_turns_end_too(
    tmp_path: Path, special: tuple[str, ...], template: str, ends: set[str]
) -> None:
    write(tmp_path, {"config.json": {}, "chat_template.jinja": template})
    assert texts_of(tmp_path, special) == ends


def test_text_that_only_looks_like_an_end_is_none(tmp_path: Path) -> None:
    """A token that is not special may be written, and so may be what no token is."""
    write(tmp_path, {"config.json": {}, "chat_template.jinja": "x<|im_end|>y</s>"})
    assert texts_of(tmp_path, (), ("<|im_end|>",)) == set()


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        ({"config.json": {"model_type": "muse_spark"}}, {200001, 200008}),
        ({"config.json": {"model_type": "muse_spark", "eos_token_id": 7}}, {7}),
        ({"config.json": {"model_type": "muse_spark"},
          "generation_config.json": {"eos_token_id": [7]}}, {7}),
        ({"config.json": {"model_type": "llama"}}, set()),
        ({"config.json": {}}, set()),
    ],
)  # fmt: skip
def test_an_architecture_has_ends_of_its_own(
    tmp_path: Path, files: dict[str, Any], ids: set[int]
) -> None:
    """Which mlx-lm takes where the checkpoint names none."""
    write(tmp_path, files)
    assert end_token_ids(tmp_path, Tokenizer(BPE())) == ids


def test_defaults_of_a_tokenizer_are_mlx_lms() -> None:
    """Read from its source, without importing it."""
    assert tokenizer_defaults("muse_spark") == muse_spark.TOKENIZER_DEFAULTS
    assert tokenizer_defaults("llama") == tokenizer_defaults("no_such") == {}


@pytest.mark.parametrize(
    "wrong", [-1, True, "2", 2.5, [[7]], {"id": 7}, [None], ["x", -3], 10**400]
)
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_a_wrong_id_ends_no_load(tmp_path: Path, name: str, wrong: Any) -> None:
    """And does not hide a right one beside it."""
    folder = make_llama(tmp_path / "model")
    path = folder / name
    content = json.loads(path.read_bytes()) if path.exists() else {}
    listed = wrong if isinstance(wrong, list) else [wrong]
    for value, right in ((wrong, set()), ([*listed, 5], {5})):
        write(folder, {name: content | {"eos_token_id": value}})
        ends = loader.load(folder, lambda loaded, total: None).eos_token_ids
        assert right | {2} == {id for id in ends if id < 512}
