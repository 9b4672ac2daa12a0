"""BERT's WordPiece: words are cut at spaces and signs, then into the longest known pieces."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from registry.errors import NotAModel

from . import classes

GOES_ON = "##"  # before a piece that continues a word
_MAX_WORD_CHARS = 100  # BERT's own
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build(
    ids: Mapping[str, int],
    cls: str,
    sep: str,
    unknown: str,
    *,
    lowercase: bool,
    strips_accents: bool | None = None,
    parts_chinese: bool = True,
) -> Tokenizer:
    """A tokenizer of these tokens. `strips_accents` None: as `lowercase` says.

    Raises NotAModel when a special token is missing.
    """
    for token in (cls, sep, unknown):
        if token not in ids:
            raise NotAModel(f"The vocabulary has no {token}, which every text needs.")
    model = models.WordPiece(dict(ids), unk_token=unknown, max_input_chars_per_word=_MAX_WORD_CHARS)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=parts_chinese,
        strip_accents=strips_accents,
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    tokenizer.decoder = decoders.WordPiece(prefix=GOES_ON)
    return tokenizer


def build_from_text(path: Path) -> Tokenizer:
    """The tokenizer of vocab.txt, a token a line. Raises OSError, NotAModel."""
    config = classes.config_of(path.parent)
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise NotAModel(f"{path.name} is damaged: {error}.") from None
    ids = {token: id for id, token in enumerate(lines)}
    accents = config.get("strip_accents")
    tokenizer = build(
        ids,
        *("[CLS]", "[SEP]", "[UNK]"),
        lowercase=config.get("do_lower_case") is not False,
        strips_accents=accents if isinstance(accents, bool) else None,
        parts_chinese=config.get("tokenize_chinese_chars") is not False,
    )
    tokenizer.add_tokens(_special(ids))
    return tokenizer


def has_capitals(tokens: Iterable[str]) -> bool:
    """Whether a vocabulary is cased, where no file says so."""
    return any(not token.startswith("[") and token.lower() != token for token in tokens)


def _special(ids: Mapping[str, int]) -> list[AddedToken]:
    return [AddedToken(token, special=True, normalized=False) for token in _SPECIAL if token in ids]
