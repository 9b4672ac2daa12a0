"""Real chat templates, asked through a text worker; and transformers, as their oracle.

They are third-party texts: fetched by name, and nothing of them is here.
"""

import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template
from werkzeug.datastructures import Headers

from registry.checkpoint.tokenizer.load import load
from runtime.requests import GenerationRequest
from runtime.text.__main__ import Worker
from runtime.text_messages import EncodePrompt, Refusal, Tokens
from tests import packages
from tests.models.tiny_models import make_tokenizer
from web.api.openai.chat_body import ChatBody, generation_request

from .conversations import Message, is_spelled_well, is_told

_SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


class RealTemplate:
    """A template in the folder of a model that has a tokenizer and no weights."""

    def __init__(self, name: str, source: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._source = source

    def tokens(self, worker: Worker, body: dict[str, Any]) -> list[int] | str:
        """What the worker makes of a client's body; or its refusal."""
        request = request_of(body)
        reply = worker.reply(EncodePrompt(str(self.folder), request.input, None, 30))
        assert isinstance(reply, Tokens | Refusal)
        return reply.tokens if isinstance(reply, Tokens) else reply.message

    def text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load(self.folder)

    def oracle(self, messages: list[Message], **options: Any) -> str | None:
        """What transformers renders of these messages, if that is whole and well spelled."""
        prompt = self._rendered(messages, options)
        if prompt is None or not (is_told(prompt, messages) and is_spelled_well(prompt)):
            return None
        # Some templates write "None" where a message has no words.
        empty = [message | {"content": message.get("content") or ""} for message in messages]
        other = self._rendered(empty, options)
        return (
            None if other is not None and _num_nothings(other) < _num_nothings(prompt) else prompt
        )

    def _rendered(self, messages: list[Message], options: dict[str, Any]) -> str | None:
        variables = {"add_generation_prompt": True, **_SPECIAL_TOKENS, **options}
        try:
            rendered = render_jinja_template([messages], chat_template=self._source, **variables)
        except Exception:  # whatever a template raises
            return None
        return str(rendered[0][0])


def _num_nothings(prompt: str) -> int:
    return prompt.count("None") + prompt.count("null")


def request_of(body: dict[str, Any]) -> GenerationRequest:
    """A body as the web layer reads it."""
    wire = json.dumps({"model": "m", **body})
    return generation_request(msgspec.json.decode(wire, type=ChatBody), Headers())


def sources() -> dict[str, str]:
    """Those that llama.cpp tests with, by name. Skips if its package cannot be fetched."""
    package = packages.unpacked("llama-cpp-python", "0.3.36", is_source=True)
    paths = sorted(package.glob("*/vendor/llama.cpp/models/templates/*.jinja"))
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


def make_all(base: Path) -> dict[str, RealTemplate]:
    make_tokenizer(base)
    made = {}
    for name, source in sources().items():
        folder = base / name
        folder.mkdir()
        shutil.copy(base / "tokenizer.json", folder)
        (folder / "tokenizer_config.json").write_text(json.dumps(_SPECIAL_TOKENS))
        (folder / "chat_template.jinja").write_text(source, encoding="utf-8")
        made[name] = RealTemplate(name, source, folder)
    return made
