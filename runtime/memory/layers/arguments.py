"""A language model's sizes, whatever its config.json calls them, and where it is silent."""

import re
from collections.abc import Mapping
from typing import cast

from registry.checkpoint.architectures import (
    architecture_of,
    argument_defaults,
    source,
)
from registry.checkpoint.config import MISREAD, NESTED
from registry.checkpoint.spelling import normalised
from registry.errors import NotAModel

_MOST_LAYERS = 4096
_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "num_transformer_layers")
_SIZE = ("hidden_size", "hidden_dim", "d_model", "model_dim", "n_embd", "block_dim")
_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "num_query_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "num_attention_groups")
_ALL_HEADS = frozenset({"gpt_neox"})  # whatever is said
_HEAD_SIZE = ("head_dim", "kv_channels", "hidden_size_per_head")


# What a module gives to the text model inside, where its own part of config.json is silent.
_DEFAULT = re.compile(r"text_config\.get\(\s*\"(\w+)\",\s*(\d+)\s*\)")
_IS_PLAIN = re.compile(r"(?s)\A(?!.*\bmake_cache\b).*^class Model\(nn\.Module\)", re.M)


class Arguments:
    """Of the text model in a config.json, as mlx-lm will read it.

    Raises ValueError where a number is missing that the cache depends on.
    """

    def __init__(self, config: Mapping[str, object]) -> None:
        try:
            said = normalised(config)
        except (NotAModel, *MISREAD):  # it is refused elsewhere
            said = dict(config)
        self.architecture = architecture_of(said)
        own_text = source(self.architecture) or ""
        # A module without a word of caches gets the plain ones, whatever is inside of it.
        self.has_plain_caches = _IS_PLAIN.search(own_text) is not None
        for key in NESTED:
            if isinstance(nested := said.get(key), dict):
                inner = architecture_of(nested)
                if re.search(rf"^from \.(?: import .*\b)?{re.escape(inner)}\b", own_text, re.M):
                    self.architecture = inner
                said = said | {k: v for k, v in nested.items() if v is not None}
        around = {name: int(value) for name, value in _DEFAULT.findall(own_text)}
        self._said = {
            **argument_defaults(self.architecture),
            **around,
            **{key: value for key, value in said.items() if value is not None},
        }

    def get(self, name: str) -> object:
        return self._said.get(name)

    def number(self, *names: str) -> int | None:
        """The first of these that is one. Of a list, a number for each layer, the largest."""
        for name in names:
            value = self._said.get(name)
            if isinstance(value, list) and value and all(type(item) is int for item in value):
                value = max(value)
            if type(value) is int and 0 <= value <= 1 << 40:
                return value
        return None

    def needed(self, *names: str) -> int:
        if (value := self.number(*names)) is None:
            raise ValueError(f"config.json says nothing of {' or '.join(names)}")
        return value

    def nested(self, name: str) -> Mapping[str, object]:
        value = self._said.get(name)
        return cast(Mapping[str, object], value) if isinstance(value, dict) else {}

    @property
    def num_layers(self) -> int:
        if (count := self.needed(*_LAYERS)) > _MOST_LAYERS:
            raise ValueError(f"config.json says that there are {count} layers")
        return count

    @property
    def size(self) -> int:
        return self.needed(*_SIZE)

    @property
    def num_heads(self) -> int:
        return self.needed(*_HEADS)

    @property
    def num_kv_heads(self) -> int:
        if self.get("multi_query") is True:
            return 1
        if type(heads := self.nested("attn_config").get("kv_n_heads")) is int:
            return heads
        if (shared := self.number("n_shared_head")) is not None:
            return -(-self.num_heads // shared)
        if self.architecture in _ALL_HEADS:
            return self.num_heads
        return self.number(*_KV_HEADS) or self.num_heads

    @property
    def head_size(self) -> int:
        return self.number(*_HEAD_SIZE) or self.size // max(1, self.num_heads)
