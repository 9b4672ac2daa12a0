"""Tests of checkpoint.tokenizer.byte_level: the alphabet that vocabularies spell bytes with."""

import pytest
from tokenizers import pre_tokenizers

from registry.checkpoint.tokenizer import byte_level


def test_every_byte_has_its_letter() -> None:
    """As `tokenizers` has them, and there and back."""
    every = bytes(range(256))
    spelled = byte_level.written(every)
    assert sorted(spelled) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert byte_level.read(spelled) == every
    assert byte_level.read("Ġthe") == b" the"


def test_another_letter_stands_for_no_byte() -> None:
    with pytest.raises(KeyError):
        byte_level.read("日")
