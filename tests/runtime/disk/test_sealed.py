"""Tests of sealed content: nobody reads it without the key, and no change goes unseen."""

import io

import pytest

from runtime.disk.sealed import NUM_ADDED, Damaged, seal, unseal

KEY = bytes(range(32))
CONTENT = b"The harbour lies still in the morning. " * 8


def sealed(content: bytes = CONTENT, name: str = "name") -> bytes:
    file = io.BytesIO()
    seal(KEY, name, content, file)
    return file.getvalue()


@pytest.mark.parametrize("num_bytes", [0, 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 17])
def test_what_was_sealed_comes_back(num_bytes: int) -> None:
    content = bytes(number * 31 % 251 for number in range(1000)) * (num_bytes // 1000 + 1)
    data = sealed(content[:num_bytes])
    assert len(data) == num_bytes + NUM_ADDED
    assert unseal(KEY, "name", data) == content[:num_bytes]


def test_nothing_of_it_is_seen_and_no_two_are_alike() -> None:
    first, second = sealed(), sealed()
    assert b"harbour" not in first and first[20:] != second[20:]


def test_any_byte_that_changed_is_found_out() -> None:
    """In the mark, the nonce, the content and the tag."""
    data = sealed()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        with pytest.raises(Damaged):
            unseal(KEY, "name", bytes(changed))


def test_any_cut_and_any_more_is_found_out() -> None:
    data = sealed()
    for length in range(len(data)):
        with pytest.raises(Damaged):
            unseal(KEY, "name", data[:length])
    with pytest.raises(Damaged):
        unseal(KEY, "name", data + b"\0")


def test_another_name_or_key_does_not_open_it() -> None:
    with pytest.raises(Damaged):
        unseal(KEY, "other", sealed())
    with pytest.raises(Damaged):
        unseal(bytes(32), "name", sealed())
