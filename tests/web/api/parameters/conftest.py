"""A server for what shows that parameters do what they say."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.models.tiny_models import make_llama, make_tokenizer
from tests.serving import ServerProcess, link_model

from .drawing import CONTEXT

# Thinks where it is told to, and says how hard.
TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if reasoning_effort %}Effort: {{ reasoning_effort }}.\n{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking %}<think>\n{% endif %}{% endif %}"
    "{# it ends with </think> #}"
)
FILL_IN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `tiny`, which thinks and fills in, and `plain`, which does neither."""
    folder = tmp_path_factory.mktemp("parameters")
    home = folder / "home"
    link_model(home, "tiny", _make_tiny(folder / "tiny"))
    plain = make_llama(folder / "plain", max_position_embeddings=CONTEXT)
    link_model(home, "plain", plain)
    with ServerProcess(home, "--max-rows", "2") as process:
        yield process


def _make_tiny(folder: Path) -> Path:
    folder.mkdir()
    make_llama(folder, vocab_size=make_tokenizer(folder) + len(FILL_IN))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(list(FILL_IN))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = folder / "tokenizer_config.json"
    told = json.loads(config.read_text()) | {"chat_template": TEMPLATE}
    config.write_text(json.dumps(told))
    return folder
