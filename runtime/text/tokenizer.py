"""Text to tokens, by the model's own tokenizer."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import Encoding

from registry.checkpoint.tokenizer.load import load
from runtime.decoding.decoder import Decoder

from .grammar.trial import Trial


class ModelTokenizer:
    """The tokenizer of a model folder, used in the text process: the same as the engine's.

    Raises OSError, NotAModel when there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load(folder)
        self._words: dict[int, bytes] = {}
        added = self._tokenizer.get_added_tokens_decoder()
        self.marks = frozenset(added)  # they stand for themselves, whatever is around them
        # Before these a text is cut, whatever it is.
        self.restarts = {id: token.content for id, token in added.items() if not token.normalized}
        self.longest_mark = max(map(len, self.restarts.values()), default=0) + 1  # in characters

    @cached_property
    def trial(self) -> Trial:
        """Of grammars, which name the tokens that are no text by their ids."""
        added = self._tokenizer.get_added_tokens_decoder()
        return Trial({token.content: id for id, token in added.items() if token.special})

    @cached_property
    def _decoder(self) -> Decoder:
        return Decoder(self._tokenizer)

    def word(self, token: int) -> bytes:
        """What the token stands for in the middle of a text."""
        word = self._words.get(token)
        if word is None:
            word = self._words[token] = self._decoder.text_of(token)
        return word

    def encode(self, text: str, *, adds_special: bool = False) -> Encoding:
        """A raw text, perhaps with the special tokens that are set around one.

        A rendered prompt holds its special tokens as text already.
        """
        return self._tokenizer.encode(text, add_special_tokens=adds_special)

    def prompt(self, text: str) -> list[int]:
        """A rendered prompt."""
        return list(self.encode(text).ids)

    def text(self, text: str, *, adds_special: bool) -> list[int]:
        """A raw text; see `encode`."""
        return list(self.encode(text, adds_special=adds_special).ids)

    def beginning(self) -> list[int]:
        """The special tokens that are set before a text."""
        ends = self.text("x", adds_special=True)[-1:]  # the one behind a text, if there is one
        alone = self.text("", adds_special=True)
        return [token for token in alone if token not in ends]

    def id_of(self, token: str) -> int | None:
        """The number of a token of the vocabulary."""
        number: int | None = self._tokenizer.token_to_id(token)
        return number

    def decode(self, tokens: Sequence[int]) -> tuple[str, list[str]]:
        """The text of tokens, special ones among them; and the vocabulary's word for each."""
        words = [self._tokenizer.id_to_token(token) or "" for token in tokens]
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False)), words

    def is_same(self, tokens: Sequence[int], others: Sequence[int]) -> bool:
        """Whether both are decoded to the same text; False if they cannot be decoded."""
        try:
            return self.decode(tokens)[0] == self.decode(others)[0]
        except BaseException as error:  # a panic of Rust is no Exception
            if type(error).__name__ != "PanicException":
                raise
            return False

    def texts(
        self, texts: Sequence[str], query: str | None, max_tokens: int | None
    ) -> tuple[list[list[int]], list[int]]:
        """Raw texts with special tokens, alone or behind a query, cut to `max_tokens`.

        The second list counts the tokens of each pair's first half.
        """
        inputs = list(texts) if query is None else [(query, text) for text in texts]
        try:
            if max_tokens is not None:
                strategy = "longest_first" if query is None else "only_second"
                self._tokenizer.enable_truncation(max_tokens, strategy=strategy)
            # Fast: without the offsets into the text, which nobody needs.
            encodings = self._tokenizer.encode_batch_fast(inputs, add_special_tokens=True)
        finally:
            self._tokenizer.no_truncation()
        rows = [list(encoding.ids) for encoding in encodings]
        return rows, [] if query is None else [_num_first(e.type_ids) for e in encodings]


def _num_first(type_ids: Sequence[int]) -> int:
    """How many tokens stand before the first of type 1; all of them, where none is marked."""
    return next((place for place, kind in enumerate(type_ids) if kind == 1), len(type_ids))
