"""Tests of runtime.text.template: equal to transformers, and safe from what templates can do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from runtime.text.template import JinjaTemplate, TemplateError, template_of
from scripts.bench.random_model import CHAT_TEMPLATE
from tests.models.tiny_models import make_tokenizer

TEMPLATES = {
    "chatml": CHAT_TEMPLATE,
    "headers": """
{%- set date = strftime_now('%Y') %}
{{- bos_token }}
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
{{- '<|header|>system<|end|>\\n\\nYear ' + date + '\\n' + system + '<|eot|>' }}
{%- for m in messages %}
    {{- '<|header|>' + m['role'] + '<|end|>\\n\\n' + m['content'] | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|header|>assistant<|end|>\\n\\n' }}
{%- endif %}
""",
    "turns": """
{{ bos_token }}
{% for message in messages if message.role != 'system' %}
  {% set role = 'model' if message.role == 'assistant' else message.role %}
<turn>{{ role }}
{{ message.content }}</turn>
{% endfor %}
{% if add_generation_prompt %}<turn>model
{% endif %}""",
    "instructions": """{{ bos_token }}{% for m in messages %}
{%- if m.role == 'user' %}[I] {{ m.content }} [/I]
{%- elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}
{%- else %}{{ '[S]' ~ m.content ~ '[/S]' }}{% endif %}
{%- endfor %}""",
    "namespace": """{% set ns = namespace(count=0, last='') %}
{% macro line(role, text) -%}
<{{ role }}>{{ text | upper if loop_up else text }}</{{ role }}>
{%- endmacro %}
{% for m in messages %}
{% set ns.count = ns.count + 1 %}
{% set ns.last = m.role %}
{{ line(m.role, m.content) }}
{% if ns.count > 7 %}{% break %}{% endif %}
{% if m.role == 'system' %}{% continue %}{% endif %}
{{ loop.index0 }}/{{ ns.count }}
{% endfor %}
{{ ns.last }}""",
    "json": """{% for m in messages %}{{ m | tojson }}
{{ m.content | tojson(indent=2) }}{% endfor %}{{ {'b': '<é & 🙂>', 'a': 1} | tojson }}""",
    "options": """{% if enable_thinking is defined and not enable_thinking %}<no>{% else %}<yes>
{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}{{ tools is none }}""",
    "generation": """{% for m in messages %}{% if m.role == 'assistant' %}
{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}
{% endif %}{% endfor %}""",
}

CONVERSATIONS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hello <you> & 'me'"}],
    [
        {"role": "system", "content": "  Be brief.\n"},
        {"role": "user", "content": "a\n\n  b"},
        {"role": "assistant", "content": "日本語 🙂"},
        {"role": "user", "content": "{{ 7 * 7 }} {% raw %}"},
    ],
]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("options", [{}, {"enable_thinking": False}], ids=str)
def test_renders_as_transformers_does(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    """To the character, in every style of the field."""
    make_tokenizer(tmp_path)
    oracle = PreTrainedTokenizerFast.from_pretrained(
        tmp_path, bos_token="<s>", chat_template=TEMPLATES[name]
    )
    tokens = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    ours = JinjaTemplate(TEMPLATES[name], tokens)
    for conversation in CONVERSATIONS:
        expected = oracle.apply_chat_template(
            conversation, tokenize=False, add_generation_prompt=True, **options
        )
        assert ours.render(conversation, options) == expected


def test_the_file_beats_the_configuration(tmp_path: Path) -> None:
    """chat_template.jinja wins over tokenizer_config.json; of several, "default" is taken."""
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"chat_template": [
        {"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"},
    ]}))  # fmt: skip
    assert template_of(tmp_path).render([], {}) == "D"
    (tmp_path / "chat_template.jinja").write_text("J")
    assert template_of(tmp_path).render([], {}) == "J"


def test_a_template_of_mlx_lm(tmp_path: Path) -> None:
    """DeepSeek-V3.2 names its template by a type; mlx-lm has it, and MLX is not imported for it."""
    from mlx_lm.chat_templates.deepseek_v32 import apply_chat_template

    config = {"chat_template_type": "deepseek_v32"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    template = template_of(tmp_path)
    for options in ({}, {"enable_thinking": False}):
        for conversation in CONVERSATIONS:
            expected = apply_chat_template(conversation, add_generation_prompt=True, **options)
            assert template.render(conversation, options) == expected
    with pytest.raises(TemplateError, match="Unknown role"):
        template.render([{"role": "critic", "content": "x"}], {})
    code = """
import pathlib, sys
from runtime.text.template import template_of
template_of(pathlib.Path(sys.argv[1])).render([{"role": "user", "content": "x"}], {})
print({"mlx", "mlx_lm", "transformers"} & {name.partition(".")[0] for name in sys.modules})
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, check=True, text=True)
    assert told.stdout == "set()\n"


def test_special_tokens_may_be_objects(tmp_path: Path) -> None:
    """Both ways in which tokenizer_config.json writes a special token."""
    config = {
        "bos_token": {"content": "<b>"},
        "eos_token": "<e>",
        "chat_template": "{{bos_token}}{{eos_token}}",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert template_of(tmp_path).render([], {}) == "<b><e>"


def test_special_tokens_of_the_older_file(tmp_path: Path) -> None:
    """bos_token only in special_tokens_map.json; transformers renders the same prompt."""
    make_tokenizer(tmp_path)
    template = "{{ bos_token + '|' + eos_token }}{{ unk_token is defined }}{{ image_token }}"
    tokens = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "image_token": "<i>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(tokens))
    (tmp_path / "chat_template.jinja").write_text(template)
    oracle = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    expected = oracle.apply_chat_template(CONVERSATIONS[0], tokenize=False)
    assert template_of(tmp_path).render([], {}) == expected == "<s>|</s>False<i>"


def test_special_tokens_without_a_role(tmp_path: Path) -> None:
    """In their order, as GigaChat's template reads them."""
    (tmp_path / "chat_template.jinja").write_text("{{ additional_special_tokens[1] }}")
    config = {"additional_special_tokens": ["<a>", {"content": "<b>"}]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert template_of(tmp_path).render([], {}) == "<b>"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('only user turns') }}", "only user turns"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "without end"),
        ("{{ nothing.at.all }}", "undefined"),
    ],
)
def test_what_a_template_may_not_do(source: str, message: str) -> None:
    """Escapes and endless recursion end in a TemplateError that says what happened."""
    with pytest.raises(TemplateError, match=message):
        JinjaTemplate(source, {}).render([{"role": "user", "content": "x"}], {})


@pytest.mark.parametrize("source", ["{% if %}", "{{", "x" * (300 << 10)])
def test_a_template_that_is_none(source: str) -> None:
    """Bad syntax and absurd size are found before any request is rendered."""
    with pytest.raises(TemplateError):
        JinjaTemplate(source, {})


def test_a_model_without_a_template_cannot_chat(tmp_path: Path) -> None:
    """It says so, instead of inventing a format."""
    with pytest.raises(TemplateError, match="no chat template"):
        template_of(tmp_path)
