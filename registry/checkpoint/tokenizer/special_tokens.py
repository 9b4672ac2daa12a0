"""The special and added tokens that a folder's small JSON files tell of, beside tokenizer.json.

Read in the order in which transformers' AutoTokenizer reads them (`_from_pretrained` in its
tokenization_utils_base.py), so that a prompt has the tokens that the model was trained with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from registry.checkpoint.config import Config, read_json
from registry.errors import NotAModel

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

_MOST_IDS = 1 << 31

FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is searched for in a text before anything else; as in tokenizers' AddedToken."""

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None  # None: only if it is not special
    special: bool = True  # left out of what a client reads


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """What the files tell."""

    named: Mapping[str, Token] = field(default_factory=dict)  # by role: "bos_token", "image_token"
    extra: tuple[Token, ...] = ()  # special, without a role
    by_id: Mapping[int, Token] = field(default_factory=dict)  # with the ids that they should have
    is_complete: bool = False  # all that tokenizer.json adds is described here as well


def read(folder: Path) -> SpecialTokens:
    """Of tokenizer_config.json, special_tokens_map.json and added_tokens.json.

    Raises NotAModel if one of them is no JSON object, or holds a token or an id that is none.
    """
    config, old_map, old_ids = (_read(folder / name) for name in FILES)
    for value in old_map.values():
        if isinstance(value, dict):
            value.pop("special", None)  # all are, in this file
    if "added_tokens_decoder" in config:
        # Written by a transformers that puts all into this one file: the others are older.
        missing = {role: old_map[role] for role in NAMED if role in old_map and role not in config}
        by_id = {
            _id(id): _token(token, is_special=False)
            for id, token in _items(config["added_tokens_decoder"])
        }
        return SpecialTokens(_named(config, missing, by_id), _extra(config, {}), by_id, True)
    special = _known_as_special(config, old_map)
    by_id = {
        _id(id): Token(content, normalized=content not in special, special=content in special)
        for content, id in _items(old_ids)
        if type(id) is int
    }
    return SpecialTokens(_named(config, old_map, by_id), _extra(config, old_map), by_id)


def texts(folder: Path) -> dict[str, str]:
    """The texts of the tokens that have a role, as chat templates know them. Raises NotAModel."""
    return {role: token.content for role, token in read(folder).named.items()}


def _named(config: Config, old_map: Config, by_id: Mapping[int, Token]) -> dict[str, Token]:
    """Tokens with a role, in transformers' order; one that has an id is described there."""
    described = {token.content: token for token in by_id.values()}
    standard = config | old_map
    named = {role: _token(standard[role]) for role in NAMED if standard.get(role)}
    named = {role: described.get(token.content, token) for role, token in named.items()}
    # Roles that only this model has, such as image_token: those written as objects come first.
    own = {role: value for role, value in standard.items() if _is_own(role, value)}
    plain = {role: value for role, value in config.items() if _is_own(role, value, str)}
    if isinstance(roles := config.get("extra_special_tokens"), dict):
        plain |= roles
    own = {role: value for role, value in own.items() if role not in plain or role in old_map}
    named |= {role: _token(value) for role, value in (own | plain).items() if value}
    return {role: replace(token, special=True) for role, token in named.items()}


def _is_own(role: str, value: object, kind: type | None = None) -> bool:
    is_object = isinstance(value, dict) and "content" in value
    is_token = isinstance(value, kind) if kind else isinstance(value, str) or is_object
    return role.endswith("_token") and role not in NAMED and is_token


def _extra(config: Config, old_map: Config) -> tuple[Token, ...]:
    """Special tokens without a role."""
    values = _list(config.get("extra_special_tokens"))
    values = values or _list(config.get("additional_special_tokens"))
    values += _list(old_map.get("extra_special_tokens"))
    values = values or _list(old_map.get("additional_special_tokens"))
    return tuple(_token(value) for value in values)


def _known_as_special(config: Config, old_map: Config) -> set[str]:
    """Texts that added_tokens.json may list without saying that they are special.

    As transformers 5 has it: objects in tokenizer_config.json do not count, nor does the older
    file's list of additional tokens.
    """
    values = [(config | old_map).get(role) for role in NAMED]
    values += _list(config.get("extra_special_tokens") or config.get("additional_special_tokens"))
    older = [old_map.get(role) for role in NAMED] + _list(old_map.get("extra_special_tokens"))
    objects = {_token(value).content for value in older if isinstance(value, dict)}
    return objects | {value for value in values + older if isinstance(value, str)}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _token(value: object, *, is_special: bool = True) -> Token:
    """A token is written as its text, or as an object with its flags.

    `is_special` is for an object that does not say it.
    """
    if isinstance(value, str):
        return Token(value)
    if not isinstance(value, dict) or not isinstance(content := value.get("content"), str):
        raise NotAModel(f"A special token should be text, but {value!r:.80} was found.")
    if value.get("__type") == "AddedToken":
        is_special = False  # as transformers' own class has it
    special = bool(value.get("special", is_special))
    single_word, lstrip, rstrip = (
        bool(value.get(name)) for name in ("single_word", "lstrip", "rstrip")
    )
    normalized = value.get("normalized")
    is_normalized = None if normalized is None else bool(normalized)
    return Token(content, single_word, lstrip, rstrip, is_normalized, special)


def _id(value: str | int) -> int:
    """The id of a token, which JSON has as text where it is a key."""
    try:
        id = int(value)
    except ValueError:  # no number, or one of thousands of digits
        id = -1
    if not 0 <= id < _MOST_IDS:
        raise NotAModel(f"A special token should have an id, but {value!r:.80} was found.")
    return id


def _items(value: object) -> list[tuple[str, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _read(path: Path) -> Config:
    return read_json(path) if path.is_file() else {}
