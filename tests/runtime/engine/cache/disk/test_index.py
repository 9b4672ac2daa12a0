"""Tests of the files of a prompt: found by its tokens, and by nobody without the secret."""

from runtime.disk.entry import Entry
from runtime.engine.cache.disk.index import Index

TEXT = list(range(100, 130))


def index_of(*cuts: list[int], secret: bytes = b"s", model: bytes = b"m") -> Index:
    """Of the text, written in pieces that end at these places."""
    index = Index(secret, model)
    for ends in cuts:
        parent, start = index.root, 0
        for end in ends:
            key = index.key(parent, TEXT[start:end])
            index.add(Entry(parent, key, end - start))
            parent, start = key, end
    return index


def ends(index: Index, tokens: list[int]) -> set[tuple[int, ...]]:
    return {tuple(piece.stop for piece in chain) for chain in index.chains(tokens)}


def test_a_prompt_is_found_as_far_as_whole_pieces_go() -> None:
    index = index_of([10, 20, 30])
    assert ends(index, TEXT) == {(10, 20, 30)}
    assert ends(index, [*TEXT, 1, 2]) == {(10, 20, 30)}
    assert ends(index, TEXT[:29]) == {(10, 20)}
    assert ends(index, [*TEXT[:15], 7, *TEXT[16:]]) == {(10,)}
    assert ends(index, [7, *TEXT[1:]]) == {()}
    assert ends(index, []) == {()}


def test_every_way_is_found() -> None:
    index = index_of([10, 20], [5, 30], [10, 25])
    assert ends(index, TEXT) == {(10, 20), (5, 30), (10, 25)}


def test_a_text_may_have_thousands_of_pieces() -> None:
    index = Index(b"s", b"m")
    tokens, parent = list(range(8000)), index.root
    for start in range(0, len(tokens), 2):
        key = index.key(parent, tokens[start : start + 2])
        index.add(Entry(parent, key, 2))
        parent = key
    (chain,) = index.chains(tokens)
    assert [piece.start for piece in chain] == list(range(0, len(tokens), 2))


def test_a_way_on_from_a_place() -> None:
    index = index_of([10, 20, 30])
    key = index.key(index.root, TEXT[:10])
    (chain,) = index.chains(TEXT[:25], 10, key)
    assert [(piece.start, piece.stop) for piece in chain] == [(10, 20)]


def test_another_model_and_another_secret_find_nothing() -> None:
    entries = index_of([10, 20]).all()
    assert len(entries) == 2
    for secret, model in ((b"s", b"other"), (b"other", b"m")):
        other = Index(secret, model)
        other.fill(entries)
        assert ends(other, TEXT) == {()} and other.all() == []


def test_tokens_stand_for_themselves() -> None:
    """Not for others whose digits or bytes are the same."""
    index = Index(b"s", b"m")
    keys = {index.key(index.root, tokens) for tokens in ([1, 23], [12, 3], [123], [1, 23, 0], [0])}
    assert len(keys) == 5
