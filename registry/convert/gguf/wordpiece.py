"""BERT's WordPiece, rebuilt from the tokens of a GGUF ("bert" in tokenizer.ggml.model).

llama.cpp's converter puts U+2581 before tokens that begin a word, and removes the ## of those that
continue one. Special tokens stay as they are, and so does any token in brackets in older files.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from registry.errors import NotAModel

_WORD_START, _GOES_ON = "▁", "##"
_MAX_WORD_CHARS = 100  # BERT's own


def original_tokens(tokens: Sequence[str], is_control: Sequence[bool]) -> list[str]:
    """The vocabulary as vocab.txt has it."""
    pairs = zip(tokens, is_control, strict=True)
    return [token if control else _original(token) for token, control in pairs]


def _original(token: str) -> str:
    if len(token) > len(_WORD_START) and token.startswith(_WORD_START):
        return token.removeprefix(_WORD_START)
    is_bracketed = len(token) > 2 and token.startswith("[") and token.endswith("]")
    return token if is_bracketed else _GOES_ON + token


def build(ids: dict[str, int], cls: str, sep: str, unknown: str) -> Tokenizer:
    """A tokenizer of these tokens. Raises NotAModel when a special one is missing."""
    for token in (cls, sep, unknown):
        if token not in ids:
            raise NotAModel(f"The GGUF's vocabulary has no {token}, which every text needs.")
    model = models.WordPiece(ids, unk_token=unknown, max_input_chars_per_word=_MAX_WORD_CHARS)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=None,  # as `lowercase` says
        lowercase=not _has_capitals(ids),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    tokenizer.decoder = decoders.WordPiece(prefix=_GOES_ON)
    return tokenizer


def _has_capitals(ids: dict[str, int]) -> bool:
    """Whether the vocabulary is cased; no GGUF says so."""
    return any(not token.startswith("[") and token.lower() != token for token in ids)
