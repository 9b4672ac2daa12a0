"""Whether native readers really load the tokenizer and model that `checkpoint.verify` found sound.

Weights are not read, so this takes hardly any memory.
"""

from pathlib import Path

from registry.checkpoint.config import read_config
from registry.checkpoint.kind import ENCODER_TYPES
from registry.checkpoint.task import check as check_task
from registry.checkpoint.tokenizer.load import load as load_tokenizer
from registry.checkpoint.verify import Verified
from registry.errors import NotAModel

from .architecture import load_lazily
from .faults import refused
from .float8 import float8_names


def try_out(folder: Path, verified: Verified) -> None:
    """Load the tokenizer, and fit the weights to the architecture. Raises NotAModel."""
    check_task(folder, None)
    if float8_names(folder, read_config(folder)):
        raise NotAModel(
            "The model has weights of eight bits (FP8), which are decoded at import: import it "
            "again, without linking."
        )
    with refused("the tokenizer"):
        load_tokenizer(folder)
    if verified.model_type not in ENCODER_TYPES:
        # Lazy: every tensor's name, shape and type is compared, and none is read.
        with refused("the model"):
            load_lazily(folder)
