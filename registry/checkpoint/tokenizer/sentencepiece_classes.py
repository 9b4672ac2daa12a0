"""The tokenizer of a folder with a SentencePiece model: the library's, and what a class adds."""

from dataclasses import replace
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.processors import RobertaProcessing, TemplateProcessing

from registry.checkpoint.config import Config
from registry.errors import NotAModel

from . import classes, sentencepiece, special_tokens
from .sentencepiece import Prefix
from .sentencepiece_model import Kind, Piece, SentencePieceModel, read

_LLAMA = ("LlamaTokenizer", "CodeLlamaTokenizer")
_FAIRSEQ_FIRST = ("<s>", "<pad>", "</s>", "<unk>")  # the library's are <unk>, <s>, </s>


def build(path: Path) -> Tokenizer:
    """The tokenizer of a model file. Raises OSError, NotAModel."""
    name, config = classes.class_of(path.parent), classes.config_of(path.parent)
    model = read(path)
    if name == classes.XLM_ROBERTA:
        return _xlm_roberta(_built(_as_fairseq(model), Prefix.EVERY_STRETCH, path))
    model = _renamed(model, path.parent)
    tokenizer = _built(model, _prefix(name, model, config), path)
    _add_ends(tokenizer, path.parent, config, adds_begin=classes.SENTENCEPIECE[name])
    return tokenizer


def _built(model: SentencePieceModel, prefix: Prefix, path: Path) -> Tokenizer:
    try:
        return sentencepiece.build(model, prefix)
    except Exception as error:  # from Rust, for characters' replacements that are damaged, say
        raise NotAModel(f"{path.name} makes no tokenizer: {error}.") from None


def _prefix(name: str | None, model: SentencePieceModel, config: Config) -> Prefix:
    """Llama's class has a newer way, in which only the whole text gets a space before it.

    Where the key is missing the older one is meant: transformers 4 took it, and models were trained
    so (its `LlamaTokenizer`, "legacy").
    """
    if not model.add_dummy_prefix:
        return Prefix.NEVER
    if name not in _LLAMA or config.get("legacy") is not False:
        return Prefix.EVERY_STRETCH
    return Prefix.NEVER if config.get("add_prefix_space") is False else Prefix.FIRST


def _renamed(model: SentencePieceModel, folder: Path) -> SentencePieceModel:
    """With the texts that the folder's files list for ids: InternLM2 calls unused pieces anew."""
    pieces = list(model.pieces)
    for id, token in special_tokens.read(folder).by_id.items():
        if 0 <= id < len(pieces) and pieces[id].text != token.content:
            is_unknown = pieces[id].kind is Kind.UNKNOWN
            kind = Kind.UNKNOWN if is_unknown else Kind.CONTROL
            pieces[id] = Piece(token.content, 0.0, kind)
    return replace(model, pieces=tuple(pieces))


def _add_ends(tokenizer: Tokenizer, folder: Path, config: Config, *, adds_begin: bool) -> None:
    texts = {"bos_token": "<s>", "eos_token": "</s>"} | special_tokens.texts(folder)
    begin, end = texts["bos_token"], texts["eos_token"]
    asked = (config.get("add_bos_token", adds_begin), config.get("add_eos_token", False))
    ends = [
        (token, id)
        for token, is_added in zip((begin, end), asked, strict=True)
        if is_added is True and (id := tokenizer.token_to_id(token)) is not None
    ]
    if ends:
        added = [token for token, _ in ends]
        pieces = [*(t for t in added if t == begin), "$A", *(t for t in added if t != begin)]
        tokenizer.post_processor = TemplateProcessing(single=pieces, special_tokens=ends)


def _as_fairseq(model: SentencePieceModel) -> SentencePieceModel:
    """With the ids of fairseq, in which XLM-R was trained: four tokens of its own come first."""
    first = [
        Piece(text, 0.0, Kind.UNKNOWN if text == "<unk>" else Kind.CONTROL)
        for text in _FAIRSEQ_FIRST
    ]
    return replace(model, pieces=(*first, *model.pieces[3:], Piece("<mask>", 0.0, Kind.CONTROL)))


def _xlm_roberta(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_tokens([AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False)
    return tokenizer
