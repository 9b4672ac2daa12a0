"""Vocabularies of tiktoken: a file of tokens in base64 and their ranks."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from registry.errors import NotAModel

from . import byte_level, classes, special_tokens, vocabulary

_NUM_BYTES = 256


def build(path: Path) -> Tokenizer:
    """The tokenizer of a file of ranks. Raises OSError, NotAModel."""
    ranks = read(path)
    kind = classes.RANKS[classes.name_of(path.parent)]
    names = (*kind.special, *(f"<|extra_{number}|>" for number in range(kind.num_extra)))
    by_id = {id: name.format(id=id) for id, name in enumerate(names, len(ranks))}
    # What the files call them goes before what they are called otherwise.
    listed = special_tokens.read(path.parent).by_id
    by_id |= {id: token.content for id, token in listed.items() if id >= len(ranks)}
    if not by_id:
        raise NotAModel(
            f"{path.name} has no special tokens, and tokenizer_config.json does not list them "
            "(added_tokens_decoder); choose a repository with a tokenizer.json."
        )
    special = {text: id for id, text in sorted(by_id.items())}
    model = byte_level.of_ranks(ranks, special)
    tokenizer = byte_level.build(model, [kind.pattern], is_nfc=kind.is_nfc)
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return tokenizer


def read(path: Path) -> dict[bytes, int]:
    """Tokens and their ranks, which count from 0. Raises OSError; NotAModel if it is damaged."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            token, rank = vocabulary.rank(line)
        except ValueError:
            raise NotAModel(
                f"{path.name} is damaged: line {number} is not a token in base64 and its rank."
            ) from None
        if rank != len(ranks) or token in ranks:
            raise NotAModel(f"{path.name} is damaged: line {number} does not have the next rank.")
        ranks[token] = rank
    if not all(bytes([byte]) in ranks for byte in range(_NUM_BYTES)):
        raise NotAModel(f"{path.name} is damaged: not every byte is a token.")
    return ranks
