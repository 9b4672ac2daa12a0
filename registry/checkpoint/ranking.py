"""How a language model ranks: by the logits of tokens, or of a head, behind a prompt of its own.

Its files are those of a CrossEncoder of sentence-transformers, from version 5.4 on:
https://sbert.net/docs/cross_encoder/usage/custom_models.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import chat_template
from .companions import LOGIT_SCORE
from .config import positive
from .modules import names_of

RANKING_TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3"})  # their heads are plain matrices

_MAX_FILE_BYTES = 1 << 20
_QUERY, _DOCUMENT = re.compile(r"""["']query["']"""), re.compile(r"""["']document["']""")


@dataclass(frozen=True, slots=True)
class Ranking:
    """The score's logit: that of `true`, less that of `false`."""

    true: int  # a token; or with a head, a label
    false: int | None  # None: nothing is taken off
    num_labels: int = 0  # of the head; 0: there is none, and the logits are those of tokens


def ranking_of(folder: Path, config: Mapping[str, object]) -> Ranking:
    """How the language model of a folder ranks. Raises OSError or ValueError if it cannot."""
    model_type = config.get("model_type")
    if model_type not in RANKING_TYPES:
        raise ValueError(
            f"a reranker of type '{model_type}' is not computed here; known are "
            f"{', '.join(sorted(RANKING_TYPES))}"
        )
    if not takes_pairs(folder):
        raise ValueError(
            "the chat template has no place for a query and a document, so what this model is to "
            "be asked is not known; a Qwen3-Reranker is taken with `--as rerank`"
        )
    return _by_tokens(folder, config) if "LogitScore" in names_of(folder) else _by_head(config)


def takes_pairs(folder: Path) -> bool:
    """Whether the chat template has messages of the roles `query` and `document`.

    Raises NotAModel where its file cannot be read.
    """
    template = chat_template.find(folder) or ""
    return bool(_QUERY.search(template) and _DOCUMENT.search(template))


def _by_tokens(folder: Path, config: Mapping[str, object]) -> Ranking:
    said = _read(folder / LOGIT_SCORE)
    rows = positive(config.get("vocab_size")) or 0
    true, false = said.get("true_token_id"), said.get("false_token_id")
    for token in (true, false):
        if token is not None and not (type(token) is int and 0 <= token < rows):
            raise ValueError(f"{LOGIT_SCORE} names the token {token!r} of {rows}")
    if not isinstance(true, int):
        raise ValueError(f"{LOGIT_SCORE} names no true_token_id")
    return Ranking(true, false if isinstance(false, int) else None)


def _by_head(config: Mapping[str, object]) -> Ranking:
    """One label is the score; of two, what they are must be known: not everything is a yes."""
    names = config.get("id2label")
    labels = [str(name).lower() for name in names.values()] if isinstance(names, dict) else []
    if len(labels) == 1:
        return Ranking(0, None, num_labels=1)
    if sorted(labels) == ["no", "yes"]:
        return Ranking(labels.index("yes"), labels.index("no"), num_labels=2)
    raise ValueError(
        "the model classifies: expected one label, as a reranker has, or the two 'no' and 'yes', "
        f"found {', '.join(labels)[:100] or 'none that has a name'}"
    )


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise ValueError(f"{path.parent.name}/{path.name} is missing")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {_MAX_FILE_BYTES} bytes")
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content
