"""The token behind each text that gte-Qwen2's own tokenizer adds, and tokenizer.json may not.

Its vector is that token's. The class Qwen2Tokenizer of transformers knows no `add_eos_token`: the
key is of the code that gte's repositories bring for it (tokenization_qwen.py), which is never run.
"""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.processors import Sequence, TemplateProcessing

from registry.checkpoint.config import read_json

from . import special_tokens

_CLASSES = ("Qwen2Tokenizer", "Qwen2TokenizerFast")


def add(tokenizer: Tokenizer, folder: Path) -> None:
    """Have the tokenizer end each text as the folder's tokenizer_config.json asks for."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    if config.get("add_eos_token") is not True or config.get("tokenizer_class") not in _CLASSES:
        return
    end = special_tokens.texts(folder).get("eos_token")
    id = tokenizer.token_to_id(end) if end is not None else None
    if end is None or id is None or tokenizer.encode("a").ids[-1:] == [id]:
        return
    template = TemplateProcessing(
        single=["$A", end], pair=["$A", "$B", end], special_tokens=[(end, id)]
    )
    before = tokenizer.post_processor
    tokenizer.post_processor = template if before is None else Sequence([before, template])
