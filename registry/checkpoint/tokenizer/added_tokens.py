"""Tokens that only the files beside tokenizer.json tell of, given to its tokenizer."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from registry.errors import NotAModel

from . import special_tokens
from .special_tokens import Token

_MAX_GAP = 100_000  # ids behind a vocabulary; more rows than that no model leaves unused
_UNLIKELY = -1e6  # log probability of a piece that only fills a gap


def add(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """All of them, in transformers' order (`TokenizersBackend.__init__`), so with the same ids.

    One thing is done better: a token that is listed with an id gets this one, also behind a gap.
    transformers gives it the next free one, whose embedding is that of another token.
    Raises NotAModel.
    """
    special = special_tokens.read(folder)
    known: dict[int, AddedToken] = tokenizer.get_added_tokens_decoder()
    listed = dict(special.by_id)
    if not special.is_complete:
        listed |= {id: _token(added) for id, added in known.items()}
    told = {token.content for token in listed.values()} | {
        token.content for token in known.values()
    }
    tokens = [token for _, token in sorted(listed.items())]
    # Where one has two descriptions, the later one counts.
    rest = (*special.named.values(), *special.extra)
    tokens += [token for token in rest if token.content not in told]
    named = {token.content for token in special.named.values()}
    tokens = [replace(token, special=True) if token.content in named else token for token in tokens]
    tokenizer = _with_ids(tokenizer, special.by_id)
    tokenizer.add_tokens([_added(token) for token in tokens if token.content])
    return tokenizer


def _added(token: Token) -> AddedToken:
    return AddedToken(**{name: flag for name, flag in asdict(token).items() if flag is not None})


def _token(added: AddedToken) -> Token:
    return Token(
        added.content,
        added.single_word,
        added.lstrip,
        added.rstrip,
        added.normalized,
        added.special,
    )


def _with_ids(tokenizer: Tokenizer, listed: Mapping[int, Token]) -> Tokenizer:
    """With the listed tokens in the vocabulary itself, if they would get other ids otherwise."""
    new = {
        id: token.content
        for id, token in sorted(listed.items())
        if token.content and tokenizer.token_to_id(token.content) is None
    }
    if not new:
        return tokenizer
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    first = max(tokenizer.get_vocab_size(with_added_tokens=False), max(ids, default=-1) + 1)
    free = {id: text for id, text in new.items() if tokenizer.id_to_token(id) is None}
    if list(new) == list(range(first, first + len(new))) or not free:
        return tokenizer
    content = json.loads(tokenizer.to_str())
    _put(content["model"], free)
    changed: Tokenizer = Tokenizer.from_str(json.dumps(content))
    return changed


def _put(model: dict[str, Any], tokens: Mapping[int, str]) -> None:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary |= {text: id for id, text in tokens.items()}
        return
    most = len(vocabulary) + _MAX_GAP
    for id, text in tokens.items():  # a list, for Unigram: the place is the id
        if id >= most:
            raise NotAModel(
                f"The token {text!r:.80} should have the id {id}, far behind the vocabulary of "
                f"{most - _MAX_GAP}; choose a model whose tokenizer is not damaged."
            )
        while len(vocabulary) <= id:
            vocabulary.append([f"<|unused {len(vocabulary)}|>", _UNLIKELY])
        vocabulary[id] = [text, _UNLIKELY]
