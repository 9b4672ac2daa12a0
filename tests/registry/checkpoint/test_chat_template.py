"""Tests of registry.checkpoint.chat_template: where a folder may have its template."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.checkpoint import chat_template
from registry.errors import NotAModel

_NAMED = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]


def _write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({}, None),
        ({"tokenizer_config.json": {"chat_template": "C"}}, "C"),
        ({"tokenizer_config.json": {"chat_template": None}}, None),
        ({"tokenizer_config.json": {"chat_template": _NAMED}}, "D"),
        ({"tokenizer_config.json": {"chat_template": _NAMED[:1]}}, "T"),
        ({"chat_template.json": {"chat_template": "P"}}, "P"),
        ({"chat_template.json": {"chat_template": {"default": "P", "tool_use": "T"}}}, "P"),
        (
            {
                "tokenizer_config.json": {"chat_template": "C"},
                "chat_template.json": {"chat_template": "P"},
            },
            "C",
        ),
        (
            {
                "additional_chat_templates/default.jinja": "A",
                "tokenizer_config.json": {"chat_template": "C"},
            },
            "A",
        ),
        (
            {
                "additional_chat_templates/tool_use.jinja": "T",
                "tokenizer_config.json": {"chat_template": "C"},
            },
            "C",
        ),
        ({"chat_template.jinja": "J", "additional_chat_templates/default.jinja": "A"}, "J"),
    ],
)
def test_where_it_is_found(tmp_path: Path, files: dict[str, Any], source: str | None) -> None:
    """In one of five places, the nearer to the model's tokenizer first; of several, the default."""
    _write(tmp_path, files)
    assert chat_template.find(tmp_path) == source
    assert chat_template.exists(tmp_path) == (source is not None)


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({}, None),
        ({"tokenizer_config.json": {"chat_template": "C"}}, None),
        ({"tokenizer_config.json": {"chat_template": _NAMED}}, "T"),
        ({"chat_template.json": {"chat_template": {"default": "P", "tool_use": "Q"}}}, "Q"),
        ({"chat_template.jinja": "J", "additional_chat_templates/tool_use.jinja": "A"}, "A"),
        ({"chat_template.jinja": "J", "tokenizer_config.json": {"chat_template": _NAMED}}, None),
    ],
)
def test_the_one_for_tools(tmp_path: Path, files: dict[str, Any], source: str | None) -> None:
    """Of several that have names; where one has a file, those in JSON are not read."""
    _write(tmp_path, files)
    assert chat_template.find_for_tools(tmp_path) == source


@pytest.mark.parametrize("name", [[], {}, {"a": []}, None, 7])
def test_a_name_that_is_no_text(tmp_path: Path, name: Any) -> None:
    """Strangers wrote it: such a template is passed over, the others count."""
    odd = {"name": name, "template": "X"}
    _write(tmp_path, {"tokenizer_config.json": {"chat_template": [odd, *_NAMED]}})
    assert chat_template.find(tmp_path) == "D"
    _write(tmp_path, {"tokenizer_config.json": {"chat_template": [odd]}})
    assert not chat_template.exists(tmp_path)


def test_a_template_in_python(tmp_path: Path) -> None:
    """It is known by its type, and no Jinja source; an unknown type is no template."""
    _write(tmp_path, {"tokenizer_config.json": {"chat_template_type": "deepseek_v32"}})
    assert chat_template.find(tmp_path) is None and chat_template.exists(tmp_path)
    # The last one is a module of mlx-lm that has the format of answers and renders nothing.
    for kind in ("../../evil", "", "__init__", "nothing", 7, "muse_spark"):
        _write(tmp_path, {"tokenizer_config.json": {"chat_template_type": kind}})
        assert not chat_template.exists(tmp_path)


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json"])
def test_a_file_that_is_no_text(tmp_path: Path, name: str) -> None:
    """It is named, in a sentence."""
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NotAModel, match=f"{name} cannot be used"):
        chat_template.find(tmp_path)
