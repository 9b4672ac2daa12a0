"""The tokens of BERT's WordPiece, as a GGUF writes them ("bert" in tokenizer.ggml.model).

llama.cpp's converter puts U+2581 before tokens that begin a word, and removes the ## of those that
continue one. Special tokens stay as they are, and so does any token in brackets in older files.
"""

from collections.abc import Sequence

from registry.checkpoint.tokenizer.wordpiece import GOES_ON

_WORD_START = "▁"


def original_tokens(tokens: Sequence[str], is_control: Sequence[bool]) -> list[str]:
    """The vocabulary as vocab.txt has it."""
    pairs = zip(tokens, is_control, strict=True)
    return [token if control else _original(token) for token, control in pairs]


def _original(token: str) -> str:
    if len(token) > len(_WORD_START) and token.startswith(_WORD_START):
        return token.removeprefix(_WORD_START)
    is_bracketed = len(token) > 2 and token.startswith("[") and token.endswith("]")
    return token if is_bracketed else GOES_ON + token
