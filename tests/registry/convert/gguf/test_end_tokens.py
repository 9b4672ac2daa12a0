"""Tests of convert.gguf.end_tokens: what llama.cpp's special_eog_ids would be."""

import pytest

from registry.checkpoint.weights import Value
from registry.convert.gguf.end_tokens import end_token_ids


def metadata(*tokens: str, **roles: int) -> dict[str, Value]:
    ids: dict[str, Value] = {f"tokenizer.ggml.{role}_token_id": id for role, id in roles.items()}
    return ids | {"tokenizer.ggml.tokens": list(tokens)}


@pytest.mark.parametrize(
    ("tokens", "roles", "expected"),
    [
        # The file names <|endoftext|>, the template ends its turns with <|im_end|>.
        (("a", "<|endoftext|>", "<|im_end|>"), {"eos": 1}, [1, 2]),
        (("<s>", "</s>", "a"), {"bos": 0, "eos": 1}, [1]),
        (("<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"), {"eos": 0}, [0, 1, 2]),
        (("x", "y", "z"), {"eos": 2, "eot": 0, "eom": 1}, [2, 0, 1]),
        (("<bos>", "<eos>", "<end_of_turn>"), {"eos": 1}, [1, 2]),
        (("<|endoftext|>", "<|end|>"), {"eos": 0}, [0, 1]),
        # OpenAI's format: a channel ends with <|end|>, and the answer goes on.
        (("<|return|>", "<|call|>", "<|end|>"), {"eos": 0}, [0, 1]),
        (("<|calls|>", "<|flush|>", "<|end|>"), {"eos": 0}, [0, 1]),
        (("<|tool_response>", "</s>", "<turn|>"), {"eos": 2}, [2, 0]),
        # Code goes on in another file.
        (("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"), {}, [0, 1, 2, 3]),
        (("<|endoftext|>", "<PAD>", "pad"), {"eos": 0, "fim_pad": 2}, [0, 2]),
        (("a", "b"), {}, []),
        (("a", "b"), {"eos": 2}, []),  # there is no such token
    ],
)
def test_the_ends(tokens: tuple[str, ...], roles: dict[str, int], expected: list[int]) -> None:
    """What the metadata names comes first, then known texts."""
    found = end_token_ids(metadata(*tokens, **roles))
    assert sorted(found) == sorted(expected) and found[:1] == expected[:1]
