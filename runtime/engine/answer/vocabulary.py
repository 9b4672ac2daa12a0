"""A model's vocabulary as llguidance takes it: which bytes every token stands for."""

from collections.abc import Collection

from llguidance import LLTokenizer
from tokenizers import Tokenizer

from runtime.decoding.decoder import Decoder


class _Tokens:
    """What `LLTokenizer` asks of a tokenizer."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: list[bytes], special: list[int], end: int) -> None:
        self.tokens = tokens
        self.special_token_ids = special
        self.eos_token_id = end

    def __call__(self, text: bytes) -> list[int]:
        raise NotImplementedError  # asked only where a grammar may force tokens: none of ours does


def vocabulary_of(
    tokenizer: Tokenizer, decoder: Decoder, end_token_ids: Collection[int], size: int
) -> LLTokenizer:
    """`size` is the width of the logits: ids beyond the tokenizer's are no tokens. Special tokens
    and ends are no text, whatever they look like."""
    added = tokenizer.get_added_tokens_decoder()
    special = {id for id, token in added.items() if token.special}.union(end_token_ids)
    tokens = [decoder.text_of(id) for id in range(size)]
    ends = sorted(id for id in end_token_ids if id < size)
    if not ends:
        ends = [size]  # llguidance wants one; nobody can draw it
        tokens.append(b"")
    return LLTokenizer(_Tokens(tokens, sorted(special), ends[0]), eos_token=ends)  # type: ignore[arg-type]
