"""The files beside a model's weights, by name: all that is ever taken along from anywhere.

By name, not by suffix: repositories hold training data as .json and .txt, too. Never code.
"""

import re

CONFIG = "config.json"

# Of sentence-transformers: how an encoder's states become one vector.
MODULES = "modules.json"
POOLING = "1_Pooling/config.json"
EMBEDDER_FILES = (
    MODULES,  # which says that the others are there
    POOLING,
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)

NAMES = frozenset(
    {
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("added_tokens.json", "vocab.json", "vocab.txt", "merges.txt"),
        *("tokenizer.model", "tiktoken.model", "spiece.model", "sentencepiece.bpe.model"),
        *("chat_template.jinja", "chat_template.json", "generation_config.json"),
        "hf_quant_config.json",
        *EMBEDDER_FILES,
    }
)
_TIKTOKEN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\.tiktoken")


def is_companion(name: str) -> bool:
    """Whether a file is taken along, by its path in the folder; config.json is not among them."""
    return name in NAMES or _TIKTOKEN.fullmatch(name) is not None
