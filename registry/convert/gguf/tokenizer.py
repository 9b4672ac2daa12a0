"""tokenizer.json and tokenizer_config.json, rebuilt from the metadata of a GGUF.

These kinds are read: byte-level BPE ("gpt2", its words split as `pre_tokenizers` says),
SentencePiece's BPE with scores ("llama") or merges ("gemma4") and its unigram model ("t5", which
XLM-R has), WordPiece ("bert", `wordpiece`).
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from registry.checkpoint.tokenizer import byte_level, sentencepiece
from registry.checkpoint.tokenizer.sentencepiece import Prefix
from registry.checkpoint.tokenizer.sentencepiece_model import (
    Algorithm,
    Kind,
    Piece,
    SentencePieceModel,
)
from registry.checkpoint.tokenizer.wordpiece import build as build_wordpiece
from registry.checkpoint.tokenizer.wordpiece import has_capitals
from registry.checkpoint.weights import Value
from registry.errors import NotAModel

from . import wordpiece
from .pre_tokenizers import PRE_TOKENIZERS

_CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 3, 4, 5, 6  # llama.cpp's token types
_SPACED = ("gemma4", "sarvam-moe")  # names of tokenizer.ggml.pre that mean SentencePiece's BPE


def write_tokenizer(metadata: dict[str, Value], folder: Path) -> None:
    """Write both files. Raises NotAModel if the metadata makes no tokenizer that is known here."""
    vocabulary = _Vocabulary.of(metadata)
    try:
        tokenizer = vocabulary.build()
        tokenizer.save(str(folder / "tokenizer.json"))
    except NotAModel:
        raise
    except Exception as error:  # from Rust, for a merge that is not in the vocabulary, say
        raise NotAModel(f"The GGUF's vocabulary makes no tokenizer: {error}") from None
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **vocabulary.special_tokens(),
    }
    if isinstance(template := metadata.get("tokenizer.chat_template"), str):
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2))


def token_id(metadata: dict[str, Value], role: str) -> int | None:
    """The id of the "bos", "eos", "eot", "padding" or "unknown" token, if it has one."""
    value = metadata.get(f"tokenizer.ggml.{role}_token_id")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if type(value) is int and isinstance(tokens, list) and 0 <= value < len(tokens):
        return value
    return None


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    metadata: dict[str, Value]
    tokens: list[str]
    types: list[int]

    @classmethod
    def of(cls, metadata: dict[str, Value]) -> "_Vocabulary":
        tokens = metadata.get("tokenizer.ggml.tokens")
        if not isinstance(tokens, list) or not tokens or not isinstance(tokens[0], str):
            raise NotAModel("The GGUF has no vocabulary (tokenizer.ggml.tokens).")
        types = metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
        if not isinstance(types, list) or len(types) != len(tokens):
            raise NotAModel("The GGUF's tokenizer.ggml.token_type does not fit its tokens.")
        if metadata.get("tokenizer.ggml.model") == "bert":
            is_control = [kind == _CONTROL for kind in types]
            tokens = wordpiece.original_tokens(tokens, is_control)
        return cls(metadata, tokens, types)  # type: ignore[arg-type]

    def build(self) -> Tokenizer:
        match kind := self.metadata.get("tokenizer.ggml.model"):
            case "gemma4":
                tokenizer = self._spaced(add_bos=True)
            case "gpt2" if self.metadata.get("tokenizer.ggml.pre") in _SPACED:
                tokenizer = self._spaced(add_bos=False)
            case "gpt2":
                tokenizer = self._byte_level()
            case "llama":
                tokenizer = self._sentencepiece()
            case "t5":
                tokenizer = self._unigram()
            case "bert":
                ids = self._ids()
                is_lower = not has_capitals(ids)
                tokenizer = build_wordpiece(ids, *self._bert_tokens(), lowercase=is_lower)
            case _:
                raise NotAModel(
                    f"The GGUF's tokenizer is of the kind {kind!r}; 'gpt2', 'gemma4', "
                    "'llama', 't5' and 'bert' are read."
                )
        tokenizer.add_tokens(
            [
                AddedToken(token, special=kind == _CONTROL, normalized=False)
                for token, kind in zip(self.tokens, self.types, strict=True)
                if kind in (_CONTROL, _USER_DEFINED) and token
            ]
        )
        return tokenizer

    def special_tokens(self) -> dict[str, str]:
        """The special tokens, by their names in tokenizer_config.json."""
        roles = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
        found = {f"{name}_token": self._token(role) for name, role in roles.items()}
        tokens = {name: token for name, token in found.items() if token is not None}
        if self.metadata.get("tokenizer.ggml.model") != "bert":
            return tokens
        cls, sep, unknown = self._bert_tokens()
        return tokens | {"cls_token": cls, "sep_token": sep, "unk_token": unknown}

    def _byte_level(self) -> Tokenizer:
        name = str(self.metadata.get("tokenizer.ggml.pre", "default"))
        split = PRE_TOKENIZERS.get(name)
        if split is None:
            known = ", ".join(sorted(PRE_TOKENIZERS))
            raise NotAModel(f"The GGUF's pre-tokenizer {name!r} is not one of {known}.")
        model = models.BPE(self._ids(), self._merges(), ignore_merges=split.ignore_merges)
        tokenizer = byte_level.build(model, split.patterns, is_nfc=split.is_nfc)
        self._add_ends(tokenizer, add_bos=split.add_bos)
        return tokenizer

    def _spaced(self, *, add_bos: bool) -> Tokenizer:
        """BPE over the text itself, a space being "▁" and never cut at: Gemma 4's kind."""
        unknown = token_id(self.metadata, "unknown")
        model = models.BPE(
            self._ids(),
            self._merges(),
            unk_token=None if unknown is None else self.tokens[unknown],
            fuse_unk=True,
            byte_fallback=self.types.count(_BYTE) == 256,
        )
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\n]+|[\n]+"), "isolated")
        tokenizer.decoder = sentencepiece.decoder(0)
        self._add_ends(tokenizer, add_bos=add_bos)
        return tokenizer

    def _sentencepiece(self) -> Tokenizer:
        unknown = token_id(self.metadata, "unknown")
        model = sentencepiece.bpe(self._pieces(), self.tokens[0 if unknown is None else unknown])
        tokenizer = Tokenizer(model)
        # As llama.cpp does it, a space is put before every stretch between special tokens.
        has_prefix = self.metadata.get("tokenizer.ggml.add_space_prefix", 1)
        steps = [normalizers.Prepend("▁")] if has_prefix else []
        tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
        tokenizer.decoder = sentencepiece.decoder(1 if has_prefix else 0)
        self._add_ends(tokenizer, add_bos=True)
        return tokenizer

    def _unigram(self) -> Tokenizer:
        charsmap = self.metadata.get("tokenizer.ggml.precompiled_charsmap", [])
        unknown = token_id(self.metadata, "unknown")
        if unknown is None or not isinstance(charsmap, list):
            raise NotAModel("The GGUF has no unknown token, or a charsmap that is no list.")
        pieces = self._pieces()
        pieces[unknown] = replace(pieces[unknown], kind=Kind.UNKNOWN)
        model = SentencePieceModel(
            tuple(pieces),
            Algorithm.UNIGRAM,
            bytes(byte & 0xFF for byte in charsmap),  # type: ignore[operator]
            composes=True,  # no GGUF names its rules; all published ones do
            add_dummy_prefix=bool(self.metadata.get("tokenizer.ggml.add_space_prefix", 1)),
            remove_extra_whitespaces=bool(
                self.metadata.get("tokenizer.ggml.remove_extra_whitespaces", 0)
            ),
        )
        prefix = Prefix.EVERY_STRETCH if model.add_dummy_prefix else Prefix.NEVER
        tokenizer = sentencepiece.build(model, prefix)
        self._add_ends(tokenizer, add_bos=False, add_eos=True)
        return tokenizer

    def _bert_tokens(self) -> tuple[str, str, str]:
        """The tokens that a text begins and ends with, and the one for unknown words."""
        # The misspelling is llama.cpp's. Newer files call the first token "bos" only.
        begin = self._token("cls") or self._token("bos") or "[CLS]"
        end = self._token("seperator") or self._token("eos") or "[SEP]"
        return begin, end, self._token("unknown") or "[UNK]"

    def _token(self, role: str) -> str | None:
        id = token_id(self.metadata, role)
        return None if id is None else self.tokens[id]

    def _merges(self) -> list[tuple[str, str]]:
        merges: dict[tuple[str, str], None] = {}  # of a pair that comes twice, the first counts
        for merge in self._strings("merges"):
            at = merge.find(" ", 1)
            merges.setdefault((merge[:at], merge[at + 1 :]))
        return list(merges)

    def _pieces(self) -> list[Piece]:
        """The vocabulary of a SentencePiece model, whose numbers for kinds llama.cpp has too."""
        scores = self.metadata.get("tokenizer.ggml.scores")
        if not isinstance(scores, list) or len(scores) != len(self.tokens):
            raise NotAModel("The GGUF's tokenizer.ggml.scores do not fit its tokens.")
        rows = zip(self.tokens, scores, self.types, strict=True)
        kinds = {kind.value: kind for kind in Kind}  # an older one, 0, is never joined
        return [
            Piece(text, score, kinds.get(kind, Kind.CONTROL))  # type: ignore[arg-type]
            for text, score, kind in rows
        ]

    def _add_ends(self, tokenizer: Tokenizer, *, add_bos: bool, add_eos: bool = False) -> None:
        """Have special tokens, where asked for, begin or end a text as the metadata says."""
        ends: dict[str, str | None] = {}
        for role, default in (("bos", add_bos), ("eos", add_eos)):
            is_added = self.metadata.get(f"tokenizer.ggml.add_{role}_token", default)
            ends[role] = self._token(role) if is_added else None
        if any(ends.values()):
            ids = self._ids()
            pieces = [piece for piece in (ends["bos"], "$A", ends["eos"]) if piece]
            tokenizer.post_processor = processors.TemplateProcessing(
                single=pieces, special_tokens=[(end, ids[end]) for end in ends.values() if end]
            )

    def _ids(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        for id, (token, kind) in enumerate(zip(self.tokens, self.types, strict=True)):
            if kind != _UNUSED:
                ids.setdefault(token, id)
        return ids

    def _strings(self, name: str) -> list[str]:
        value = self.metadata.get(f"tokenizer.ggml.{name}")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise NotAModel(f"The GGUF has no list of strings tokenizer.ggml.{name}.")
        return [str(item) for item in value]
