"""Small SentencePiece models, trained by the library itself."""

import io
from typing import Any

import sentencepiece

from tests.models.texts import TRAINING


def train(**options: Any) -> bytes:
    """A tokenizer.model as the trainer writes it; `options` are its own."""
    written = io.BytesIO()
    defaults: dict[str, Any] = {
        "model_type": "bpe",
        "vocab_size": 600,
        "hard_vocab_limit": False,
        "character_coverage": 0.995,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING), model_writer=written, **(defaults | options)
    )
    return written.getvalue()


LLAMA = {
    "byte_fallback": True,
    "split_digits": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
}
"""How the models of Llama, Mistral, Gemma, Baichuan and InternLM are trained."""
