"""A model as the runtime sees it: a name and a folder, and what the folder's config says."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .config import Json
from .context import context_length
from .exactness import Probed
from .kv_bits import KvBits
from .model_memory import ModelMemory
from .sampling import SamplingDefaults


@dataclass(frozen=True)
class Model:
    """An id and the folder with its config.json, tokenizer.json and *.safetensors."""

    id: str
    folder: Path
    max_context: int | None = None  # set by a person; it can only lower the model's own
    probed: Probed | None = None  # what an engine once found out about it
    sampling: SamplingDefaults = SamplingDefaults()  # where a request does not say
    memory: ModelMemory | None = None  # what it took when an engine last had it
    kv_bits: KvBits | None = None  # that a person wants for it; None: as all models
    load_s: float | None = None  # how long its first load took

    @cached_property
    def config(self) -> dict[str, Json]:
        """The folder's config.json. Raises OSError or ValueError when it is not readable JSON."""
        config = json.loads((self.folder / "config.json").read_bytes())
        if not isinstance(config, dict):
            raise ValueError(f"{self.folder / 'config.json'} is not a JSON object")
        return config

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", "unknown"))

    @property
    def vocab_size(self) -> int | None:
        """Rows of the token embedding; None if the config does not say."""
        text_config = self.config.get("text_config")
        source = text_config if isinstance(text_config, dict) else self.config
        size = source.get("vocab_size")
        return size if isinstance(size, int) else None

    @property
    def context_length(self) -> int:
        """How many tokens prompt and answer may take together."""
        return min(self.trained_context, self.max_context or self.trained_context)

    @property
    def trained_context(self) -> int:
        """The model's own limit."""
        return context_length(self.config, self.folder)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weight files on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))
