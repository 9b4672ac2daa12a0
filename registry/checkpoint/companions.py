"""The files beside a model's weights that are kept, by name: none other gets into the store.

By name and not by suffix, for repositories hold training data as .json and .txt too. Never code.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from .tokenizer.vocabulary import NAMES as VOCABULARIES
from .tokenizer.vocabulary import is_vocabulary

CONFIG = "config.json"

# Files of sentence-transformers: how an encoder's states become one vector.
MODULES = "modules.json"
POOLING = "1_Pooling/config.json"
LOGIT_SCORE = "1_LogitScore/config.json"  # of a language model that ranks
SENTENCE_CONFIG = "config_sentence_transformers.json"
# What it says of texts. It names the first only, and older ones as the model that was built on.
_KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
TEXT_FILES = tuple(f"sentence_{kind}_config.json" for kind in _KINDS)
EMBEDDER_FILES = (
    MODULES,  # where it is missing, so are the others
    POOLING,
    *TEXT_FILES,
    SENTENCE_CONFIG,
)

NAMES = frozenset(
    {
        *VOCABULARIES,
        *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        *("chat_template.jinja", "chat_template.json", "generation_config.json"),
        "additional_chat_templates/default.jinja",
        "additional_chat_templates/tool_use.jinja",
        "hf_quant_config.json",
        *EMBEDDER_FILES,
    }
)
# A module of sentence-transformers has a folder, named by its number and class; so has a Dense its
# weights, which are small.
_MODULE_FILE = re.compile(
    r"\d{1,2}_[A-Z][A-Za-z]{0,49}/config\.json|\d{1,2}_Dense/model\.safetensors"
)


def is_companion(name: str) -> bool:
    """Whether the file at this path of a folder is kept. config.json is not: it is written anew."""
    return name in NAMES or is_module_file(name) or is_vocabulary(name)


def is_module_file(name: str) -> bool:
    """Whether it is a file of a module of sentence-transformers, such as 2_Dense/config.json."""
    return _MODULE_FILE.fullmatch(name) is not None


def nested_files(folder: Path) -> Iterator[str]:
    """The files to keep that lie in folders of this one, by their paths in it."""
    for path in sorted(folder.glob("*/*")):
        if is_companion(name := path.relative_to(folder).as_posix()):
            yield name
